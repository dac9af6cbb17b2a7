"""Build values from the events of the YAML parser, so that every bound holds before a value is built."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from anchore_admission.documents.placed import PlacedText
from anchore_admission.documents.scalars import key_text, plain
from anchore_admission.errors import Problem
from anchore_admission.text import shown

MAX_DEPTH = 200
MAX_VALUES = 1_000_000
"""Values that the aliases of one text may repeat; the length of the text bounds all others."""
MAX_PROBLEMS = 20
# The parser of libyaml, if PyYAML was built with it.
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_RESOLVED_TAGS: dict[str, tuple[type, ...]] = {
    f"{_TAG}int": (int,),
    f"{_TAG}float": (float, int),
    f"{_TAG}bool": (bool,),
    f"{_TAG}null": (type(None),),
}
"""Tags that require a type, whether or not the word is quoted; every other tag makes a word text."""
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class Reading:
    """Options for reading one text. ``repeats`` accepts duplicate keys, ``line`` counts the lines before the text.

    ``places`` makes every text value a ``PlacedText``.
    """

    source: str
    aliases: bool
    repeats: bool = False
    line: int = 0
    depth: int = MAX_DEPTH
    places: bool = False

    def place(self, line: int, column: int) -> str:
        """Name a place in the text; both numbers count from 0."""
        return f"line {self.line + line + 1}, column {column + 1}"


class Rejected(Exception):
    """A problem after which reading cannot continue."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class YamlReader:
    """The documents of one text, and the problems and notes of reading it."""

    def __init__(self, text: str, reading: Reading) -> None:
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self._reading = reading
        self._events: Iterator[Any] = yaml.parse(text, Loader=_PARSER)
        self._anchors: dict[str, tuple[Any, int]] = {}  # the value, and how many values it holds
        self._count = 0
        self._repeated = 0

    def documents(self) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                # In YAML, an anchor holds for its own document only.
                self._anchors.clear()
                document = self._value(next(self._events), 0)
                # `depth` counts the levels that are written; an alias may nest its value deeper.
                if self._reading.aliases and too_deep(document, self._reading.depth):
                    self._reject(event, f"is nested deeper than {self._reading.depth} levels")
                yield document

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > self._reading.depth:
            self._reject(event, f"is nested deeper than {self._reading.depth} levels")
        before = self._count
        self._count += 1
        value = self._built(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _built(self, event: Any, depth: int) -> Any:
        """Build a value; Kubernetes ignores the tags of mappings and lists."""
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
            return _placed(value, event) if self._reading.places and isinstance(value, str) else value
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(depth + 1)
        return self._mapping(depth + 1)

    def _scalar(self, event: Any) -> Any:
        if event.tag is None:
            return plain(event.value) if event.implicit[0] else event.value
        name = event.tag.removeprefix(_TAG)
        if name == "binary":
            try:
                return base64.b64decode("".join(event.value.split()), validate=True).decode(errors="replace")
            except ValueError:
                self._reject(event, "!!binary takes base64")
        types = _RESOLVED_TAGS.get(event.tag)
        if types is None:
            return event.value
        value = plain(event.value)
        if type(value) not in types:
            self._reject(event, f"!!{name} does not fit the value")
        return value

    def _sequence(self, depth: int) -> list[Any]:
        values = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, depth))
        return values

    def _mapping(self, depth: int) -> dict[str, Any]:
        """Build a mapping; as in go-yaml v2, a merge overrides the keys before it."""
        mapping: dict[str, Any] = {}
        written: set[str] = set()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if _is_merge(event):
                self._merge(event, depth, mapping, written)
                continue
            key = key_text(self._value(event, depth))
            value = self._value(next(self._events), depth)
            if key is None:
                self._problem(event, "a key must be a word, a number or a truth value")
                continue
            if key in written:
                self._repeat(event, f'duplicate key "{shown(key)}"', "the last value counts")
            written.add(key)
            mapping[key] = value
        return mapping

    def _merge(self, event: Any, depth: int, mapping: dict[str, Any], written: set[str]) -> None:
        value = self._value(next(self._events), depth)
        others = value if isinstance(value, list) else [value]
        if not all(isinstance(other, dict) for other in others):
            self._reject(event, "<< takes a mapping or a list of mappings")
        for other in reversed(others):
            for key in written & other.keys():
                self._repeat(event, f'<< stands after the key "{shown(key)}", which it also holds', "<< wins")
            mapping.update(other)

    def _alias(self, event: Any) -> Any:
        if not self._reading.aliases:
            self._reject(event, "aliases are not supported here; write the value out")
        if event.anchor not in self._anchors:
            self._reject(event, "an alias must stand after the end of what it repeats")
        value, count = self._anchors[event.anchor]
        self._count += count
        # A few lines of aliases of aliases stand for billions of values ("billion laughs"), so each counts with all it
        # repeats.
        self._repeated += count
        if self._repeated > MAX_VALUES:
            self._reject(event, f"aliases repeat more than {MAX_VALUES} values")
        return value

    def _repeat(self, event: Any, message: str, winner: str) -> None:
        if not self._reading.repeats:
            self._problem(event, message)
        elif len(self.notes) < MAX_PROBLEMS:
            self.notes.append(Problem(self._place(event), f"{message}: {winner}, as for kubectl"))

    def _problem(self, event: Any, message: str) -> None:
        self.problems.append(Problem(self._place(event), message))
        if len(self.problems) >= MAX_PROBLEMS:
            self._reject(event, "and more problems after this line")

    def _place(self, event: Any) -> str:
        return self._reading.place(event.start_mark.line, event.start_mark.column)

    def _reject(self, event: Any, message: str) -> NoReturn:
        raise Rejected(Problem(self._place(event), message))


def _placed(value: str, event: Any) -> PlacedText:
    span = (event.start_mark.index, event.end_mark.index)
    style = "" if event.style in {None, ":"} else event.style
    return PlacedText.at(value, span, style, is_tagged=event.tag is not None)


def _is_merge(event: Any) -> bool:
    if not isinstance(event, yaml.ScalarEvent) or event.value != _MERGE:
        return False
    return event.implicit[0] if event.tag is None else event.tag in {"!", f"{_TAG}merge"}


def too_deep(document: Any, most: int = MAX_DEPTH) -> bool:
    """Return True if values nest deeper than ``most`` levels. No recursion: aliases may nest thousands of levels."""
    level = [document]
    for _ in range(most + 2):
        level = [value for item in level if isinstance(item, dict | list) for value in _values(item)]
        if not level:
            return False
    return True


def _values(item: dict[str, Any] | list[Any]) -> Any:
    return item.values() if isinstance(item, dict) else item
