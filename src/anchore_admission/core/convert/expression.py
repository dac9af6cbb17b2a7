"""Read a regular expression far enough to prove what it matches.

The Go controller searches its expressions in a text: unless they are anchored, they match anywhere in it. An expression
becomes alternatives, each a row of characters and repeats. Of syntax that is not read here nothing is proven.
"""

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NoReturn

MAX_WORDS = 64
"""Texts that one expression may stand for, and alternatives that it may have."""
_MAX_REPEAT = 8
_DIGITS = frozenset(string.digits)
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_SPACE = frozenset("\t\n\f\r ")
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}


class NotRead(Exception):
    """The expression has syntax that is not read here."""


@dataclass(frozen=True, slots=True)
class Characters:
    """A set of characters, or with ``negated`` all others."""

    listed: frozenset[str]
    negated: bool = False

    def __contains__(self, character: str) -> bool:
        return (character in self.listed) != self.negated

    def avoids(self, characters: str) -> bool:
        """Return whether none of these characters is in the set."""
        return not any(character in self for character in characters)


DOT = Characters(frozenset("\n"), negated=True)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A repeated set of characters; ``most`` None means without limit."""

    characters: Characters
    least: int
    most: int | None


Item = str | Repeat
"""A single character, or a repeat."""
_ANYTHING = Repeat(DOT, 0, None)


@dataclass(frozen=True, slots=True)
class Row:
    """One alternative. A start or an end that is not anchored may be anywhere in the text.

    With ``one_line``, it stands for the expression only in texts without line breaks, which a dot does not match.
    """

    items: tuple[Item, ...]
    starts: bool
    ends: bool
    one_line: bool = False

    @property
    def text(self) -> str | None:
        """The text, if every item is a character."""
        return "".join(map(str, self.items)) if all(isinstance(item, str) for item in self.items) else None


class _Anchor:
    """A place in the text; rows with one in their middle are not read."""


_START, _END = _Anchor(), _Anchor()
_Parts = tuple[Item | _Anchor, ...]


def rows_of(expression: str) -> tuple[Row, ...]:
    """Return the alternatives of an expression. Raises NotRead."""
    reader = _Reader(expression)
    found = reader.alternatives()
    if not reader.at_end:
        reader.give_up()
    return tuple(map(_row, found))


def words_of(rows: Sequence[Row]) -> frozenset[str] | None:
    """Return the only texts that the rows match, or None if there are too many to list."""
    words: set[str] = set()
    for row in rows:
        if not (row.starts and row.ends):
            return None
        choices = [_choices(item) for item in row.items]
        total = 1
        for choice in choices:
            total *= len(choice)
        if not total or total > MAX_WORDS:
            return None
        words.update("".join(word) for word in product(*choices))
    return frozenset(words) if len(words) <= MAX_WORDS else None


def matches_all(row: Row, *, if_empty: bool = True) -> bool:
    """Return whether the row matches every text of one line; without ``if_empty``, every text but the empty one."""
    if all(map(_may_be_absent, row.items)):
        return not (row.starts and row.ends) or _ANYTHING in row.items
    something = [(Repeat(DOT, 1, None),), *([] if row.starts and row.ends else [(Repeat(DOT, 1, 1),)])]
    return not if_empty and row.items in something


def matches(items: Sequence[Item], text: str) -> bool:
    """Return whether the items match the whole text."""
    places = {0}
    for item in items:
        if isinstance(item, str):
            places = {place + 1 for place in places if text[place : place + 1] == item}
        else:
            places = {end for place in places for end in _ends(item, text, place)}
    return len(text) in places


def _ends(repeat: Repeat, text: str, start: int) -> Iterator[int]:
    end = start
    while True:
        if end - start >= repeat.least:
            yield end
        if end >= len(text) or text[end] not in repeat.characters or end - start == repeat.most:
            return
        end += 1


def _choices(item: Item) -> tuple[str, ...]:
    """Return the texts that an item matches; none if there are too many."""
    if isinstance(item, str):
        return (item,)
    if item.characters.negated or item.most is None or len(item.characters.listed) ** item.most > MAX_WORDS:
        return ()
    return tuple(
        "".join(word) for n in range(item.least, item.most + 1) for word in product(item.characters.listed, repeat=n)
    )


def _row(parts: _Parts) -> Row:
    starts = ends = False
    while parts and parts[0] is _START:
        starts, parts = True, parts[1:]
    while parts and parts[-1] is _END:
        ends, parts = True, parts[:-1]
    items = tuple(part for part in parts if not isinstance(part, _Anchor))
    if len(items) != len(parts):
        raise NotRead
    return _trimmed(Row(items, starts, ends))


def _trimmed(row: Row) -> Row:
    """Leave out what changes nothing for texts of one line: ``.*`` at an end, and what may be absent at an open one."""
    items, starts, ends = list(row.items), row.starts, row.ends
    one_line = starts and ends and _ANYTHING in (items[:1] + items[-1:])
    while len(items) > 1 and (items[-1] == _ANYTHING or (not ends and _may_be_absent(items[-1]))):
        one_line |= ends
        del items[-1]
        ends = False
    while len(items) > 1 and (items[0] == _ANYTHING or (not starts and _may_be_absent(items[0]))):
        one_line |= starts
        del items[0]
        starts = False
    return Row(tuple(items), starts, ends, one_line)


def _may_be_absent(item: Item) -> bool:
    return isinstance(item, Repeat) and item.least == 0


class _Reader:
    """A recursive-descent reader of the syntax that Go's and C++'s RE2 share."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._place = 0
        self._depth = 0

    @property
    def at_end(self) -> bool:
        return self._place >= len(self._text)

    def give_up(self) -> NoReturn:
        raise NotRead

    def alternatives(self) -> list[_Parts]:
        self._depth += 1
        if self._depth > _MAX_REPEAT:
            self.give_up()
        found = self._sequence()
        while self._accept("|"):
            found += self._sequence()
        self._depth -= 1
        return found

    def _sequence(self) -> list[_Parts]:
        found: list[_Parts] = [()]
        while not self.at_end and self._text[self._place] not in "|)":
            repeated = self._repeated(self._atom())
            found = [(*before, *after) for before in found for after in repeated]
            if len(found) > MAX_WORDS:
                self.give_up()
        return found

    def _atom(self) -> list[_Parts]:
        character = self._next()
        if character == "(":
            self._accept("?:")
            found = self.alternatives()
            if not self._accept(")"):
                self.give_up()
            return found
        if character in "*+?{":
            self.give_up()
        if character in "^$":
            return [(_START if character == "^" else _END,)]
        if character == ".":
            return [(Repeat(DOT, 1, 1),)]
        if character == "[":
            return [(Repeat(self._class(), 1, 1),)]
        return [self._escape()] if character == "\\" else [(character,)]

    def _escape(self) -> _Parts:
        character = self._next()
        if character in "Az":
            return (_START if character == "A" else _END,)
        if character in _CLASSES:
            return (Repeat(Characters(_CLASSES[character]), 1, 1),)
        if character.lower() in _CLASSES:
            return (Repeat(Characters(_CLASSES[character.lower()], negated=True), 1, 1),)
        if character.isalnum():
            self.give_up()
        return (character,)

    def _class(self) -> Characters:
        negated = self._accept("^")
        listed: set[str] = set()
        first = True
        while first or not self._accept("]"):
            low = self._class_character()
            if isinstance(low, frozenset):
                listed |= low
            elif (
                self._text[self._place : self._place + 1] == "-"
                and self._text[self._place + 1 : self._place + 2] != "]"
            ):
                self._place += 1
                high = self._class_character()
                if isinstance(high, frozenset) or high < low or ord(high) > ord("~"):
                    self.give_up()
                listed |= {chr(code) for code in range(ord(low), ord(high) + 1)}
            else:
                listed.add(low)
            first = False
        return Characters(frozenset(listed), negated)

    def _class_character(self) -> str | frozenset[str]:
        character = self._next()
        if character == "[":  # [:alpha:]
            self.give_up()
        if character != "\\":
            return character
        escaped = self._next()
        if escaped in _CLASSES:
            return _CLASSES[escaped]
        if escaped.isalnum():
            self.give_up()
        return escaped

    def _repeated(self, atom: list[_Parts]) -> list[_Parts]:
        bounds = self._bounds()
        if bounds is None:
            return atom
        self._accept("?")  # as few as possible: the same texts match
        if self._text[self._place : self._place + 1] in tuple("*+?{"):
            self.give_up()
        least, most = bounds
        if any(isinstance(part, _Anchor) for parts in atom for part in parts):
            self.give_up()
        if (single := _single(atom)) is not None:
            return [(Repeat(single, least, most),)]
        if most is None or most > _MAX_REPEAT or len(atom) ** most > MAX_WORDS:
            self.give_up()
        return [
            tuple(p for part in row for p in part) for n in range(least, most + 1) for row in product(atom, repeat=n)
        ]

    def _bounds(self) -> tuple[int, int | None] | None:
        if self._accept("*"):
            return 0, None
        if self._accept("+"):
            return 1, None
        if self._accept("?"):
            return 0, 1
        if not self._accept("{"):
            return None
        inside, closed, _ = self._text[self._place :].partition("}")
        low, comma, high = inside.partition(",")
        are_numbers = inside.isascii() and low.isdecimal() and (high.isdecimal() or not high)
        if not closed or not are_numbers or len(inside) > _MAX_REPEAT:
            self.give_up()  # RE2 reads the brace as a character
        self._place += len(inside) + 1
        least, most = int(low), (int(high) if high else None) if comma else int(low)
        if most is not None and most < least:
            self.give_up()
        return least, most

    def _accept(self, text: str) -> bool:
        found = self._text.startswith(text, self._place)
        self._place += len(text) if found else 0
        return found

    def _next(self) -> str:
        if self.at_end:
            self.give_up()
        self._place += 1
        return self._text[self._place - 1]


def _single(atom: list[_Parts]) -> Characters | None:
    """Return the set of characters if every alternative is one character."""
    listed: set[str] = set()
    for parts in atom:
        if len(parts) != 1 or isinstance(parts[0], _Anchor):
            return None
        part = parts[0]
        if isinstance(part, str):
            listed.add(part)
        elif len(atom) == 1 and part.least == part.most == 1:
            return part.characters
        elif part.least != 1 or part.most != 1 or part.characters.negated:
            return None
        else:
            listed |= part.characters.listed
    return Characters(frozenset(listed))
