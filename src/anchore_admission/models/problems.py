"""Describe the problems of a document in plain words, without its values."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_SHOWN_ERRORS = 3
_OBJECT, _LIST, _TEXT = "expected an object", "expected a list", "expected text"
_WORDS: dict[str, str | Callable[[Mapping[str, Any]], str]] = {
    "missing": "is required",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": _LIST,
    "string_type": _TEXT,
    "bool_type": "expected true or false",
    "string_too_short": "must not be empty",
    "string_too_long": lambda context: f"expected at most {context['max_length']} characters",
    "too_long": lambda context: f"expected at most {context['max_length']} entries",
    "literal_error": lambda context: f"expected {str(context['expected']).replace(chr(39), '')}",
}
_EXPECTED = re.compile(r"Expected `(\w+)(?: \| null)?`, got `\w+`(?: - at `\$\.?([^`]{0,300})`)?")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_EXPECTED_WORDS = {"object": _OBJECT, "array": _LIST, "str": _TEXT, "bool": "expected true or false"}
_TOO_DEEP = "is nested too deeply"
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_KEY_SHOWN = 100
_CUT_OFF = "is not valid JSON: it ends too early"


def problems_of(error: ValidationError) -> list[ErrorDetails]:
    """Return the problems of a validation error without the values that it found."""
    return error.errors(include_url=False, include_input=False)


def described(problems: Sequence[ErrorDetails], *, below: int = 0) -> str:
    """Describe the first problems with their paths, without the first ``below`` parts of each."""
    shown = []
    for problem in problems[:_SHOWN_ERRORS]:
        where = path(problem["loc"][below:])
        shown.append(f"{where}: {_words(problem)}" if where else _words(problem))
    if len(problems) > _SHOWN_ERRORS:
        shown.append(f"and {len(problems) - _SHOWN_ERRORS} more")
    return "; ".join(shown)


def in_words(error: Exception) -> str:
    """Describe a parser's error; pydantic's names the line and column, msgspec's the byte or the path."""
    text = str(error)
    if isinstance(error, RecursionError) or "recursion limit" in text:
        return _TOO_DEEP
    if "EOF" in text or "truncated" in text:
        return _CUT_OFF
    if expected := _EXPECTED.match(text):
        words = _EXPECTED_WORDS.get(expected[1], "is of another type than expected")
        return f"{expected[2]}: {words}" if expected[2] else words
    if missing := _MISSING.match(text):
        return f"{missing[1]}: is required"
    place = re.search(r"at line \d{1,9} column \d{1,9}$|\(byte \d{1,9}\)$", text)
    return f"is not valid JSON {place[0]}" if place else "is not valid JSON"


def _words(problem: ErrorDetails) -> str:
    if problem["type"] == "json_invalid":
        return in_words(ValueError(problem["ctx"]["error"]))
    words = _WORDS.get(problem["type"], "is of another type than expected")
    return words if isinstance(words, str) else words(problem["ctx"])


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
