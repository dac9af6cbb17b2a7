"""Describe the problems of a document in plain words, without its values."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import inspect

_SHOWN_PROBLEMS = 3
_OBJECT, _LIST, _TEXT, _BOOLEAN = "expected an object", "expected a list", "expected text", "expected true or false"
_REQUIRED = "is required"
_EXPECTED = re.compile(r"Expected `(\w+)(?: \| null)?`, got `\w+`(?: - at `\$\.?([^`]{0,300})`)?")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_EXPECTED_WORDS = {"object": _OBJECT, "array": _LIST, "str": _TEXT, "bool": _BOOLEAN}
_TOO_DEEP = "is nested too deeply"
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_KEY_SHOWN = 100
_OTHER_TYPE = "is of another type than expected"
_CUT_OFF = "is not valid JSON: it ends too early"


Place = tuple[int | str, ...]


class Found(NamedTuple):
    """One problem of a document; ``place`` is its path."""

    place: Place
    words: str


def problems_of(value: Any, kind: inspect.Type, place: Place = ()) -> Iterator[Found]:
    """Yield every problem of a parsed document, whose type is given as ``msgspec.inspect`` describes it.

    msgspec itself reports the first problem only, and not under which key of a mapping it stands.
    """
    match kind:
        case inspect.UnionType(types=types):  # every union is a type or null
            if value is not None:
                yield from problems_of(value, types[0], place)
        case inspect.StructType():
            yield from _of_members(value, kind, place)
        case inspect.DictType(value_type=inner, max_length=most):
            yield from _of_items(value.items() if isinstance(value, dict) else _OBJECT, inner, most, place)
        case inspect.ListType(item_type=inner, max_length=most):
            yield from _of_items(enumerate(value) if isinstance(value, list) else _LIST, inner, most, place)
        case _:
            if words := _problem_of_scalar(value, kind):
                yield Found(place, words)


def _of_members(value: Any, kind: inspect.StructType, place: Place) -> Iterator[Found]:
    if not isinstance(value, dict):
        yield Found(place, _OBJECT)
        return
    for field in kind.fields:
        if field.name in value:
            yield from problems_of(value[field.name], field.type, (*place, field.name))
        elif field.required:
            yield Found((*place, field.name), _REQUIRED)


def _of_items(
    items: Iterable[tuple[int | str, Any]] | str, kind: inspect.Type, most: int | None, place: Place
) -> Iterator[Found]:
    """Yield the problems of a list or a mapping; a text in the place of ``items`` says which of them was expected."""
    if isinstance(items, str):
        yield Found(place, items)
        return
    found = list(items)
    if most is not None and len(found) > most:
        yield Found(place, f"expected at most {most} entries")
        return
    for key, item in found:
        yield from problems_of(item, kind, (*place, key))


def _problem_of_scalar(value: Any, kind: inspect.Type) -> str:
    match kind:
        case inspect.StrType() if not isinstance(value, str):
            return _TEXT
        case inspect.StrType(min_length=least) if len(value) < (least or 0):
            return "must not be empty"
        case inspect.StrType(max_length=most) if most is not None and len(value) > most:
            return f"expected at most {most} characters"
        case inspect.LiteralType(values=values) if value not in values:
            return f"expected {' or '.join(map(str, values))}"
        case inspect.BoolType() if not isinstance(value, bool):
            return _BOOLEAN
        case _:
            return ""


def described(problems: Sequence[Found], *, below: int = 0) -> str:
    """Describe the first problems with their paths, without the first ``below`` parts of each."""
    shown = []
    for problem in problems[:_SHOWN_PROBLEMS]:
        where = path(problem.place[below:])
        shown.append(f"{where}: {problem.words}" if where else problem.words)
    if len(problems) > _SHOWN_PROBLEMS:
        shown.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
    return "; ".join(shown)


def in_words(error: Exception) -> str:
    """Describe a parser's error; pydantic's names the line and column, msgspec's the byte or the path."""
    text = str(error)
    if isinstance(error, RecursionError) or "recursion limit" in text:
        return _TOO_DEEP
    if "EOF" in text or "truncated" in text:
        return _CUT_OFF
    if expected := _EXPECTED.match(text):
        words = _EXPECTED_WORDS.get(expected[1], _OTHER_TYPE)
        return f"{expected[2]}: {words}" if expected[2] else words
    if missing := _MISSING.match(text):
        return f"{missing[1]}: {_REQUIRED}"
    place = re.search(r"at line \d{1,9} column \d{1,9}$|\(byte \d{1,9}\)$", text)
    return f"is not valid JSON {place[0]}" if place else "is not valid JSON"


def path(location: Iterable[int | str]) -> str:
    """Write the path to a value: ``rules[1].match.images[0]``. A key that is no plain word stands in brackets.

    Long keys are cut, unprintable characters escaped: an author of the document chose them.
    """
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}"
        else:
            text += f"[{part[:_KEY_SHOWN]!a}]"
    return text.removeprefix(".")
