"""Append to text values in YAML and JSON, and leave every other character as it is."""

import json
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from anchore_admission.documents.placed import PlacedText
from anchore_admission.documents.reader import load_manifests, load_placed
from anchore_admission.errors import DocumentError

Path = tuple[str | int, ...]
"""The place of a value in a text: the number of its document, as ``load_manifests`` counts them, then keys and indexes.
"""

_ANCHOR = re.compile(r"&[^\s,\[\]{}]{1,200}[ \t]{1,200}")
_BLOCK = frozenset("|>")
ABSENT = "it cannot be found in the text"
_TAGGED = "a YAML tag stands before it"
_LINES = "it is a block of lines"
_UNUSUAL = "it is written in an unusual way"
_SHARED = "another value stands for the same text (an alias or a merge)"
_NO_LINE = -1


@dataclass(frozen=True, slots=True)
class Result:
    """The line of a value, from 0 (-1 if it was not found), and the reason why it was left alone, or empty.

    ``start`` is the offset of its text, which aliases of one value share; -1 if it was not found.
    """

    line: int
    reason: str = ""
    start: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Edited:
    """A text after its edits, and the result for each value that was to be changed."""

    text: str
    results: Mapping[Path, Result]


def append(text: str, additions: Mapping[Path, str]) -> Edited:
    """Append to text values of a YAML or JSON text.

    A value is left alone if it is neither a word nor a quoted text, or if the change would reach another value, too.
    Nothing is changed unless the new text reads as expected.

    Raises:
        DocumentError: the text cannot be read.
    """
    if not additions:
        return Edited(text, {})
    edits = _Edits(text, additions)
    while edits.offsets:
        changed = edits.changed()
        harmful = edits.harmful(changed)
        if not harmful:
            return Edited(changed, edits.results)
        edits.drop(harmful)
    return Edited(text, edits.results)


class _Edits:
    """The edits of one text. ``offsets`` are those that may still be made."""

    def __init__(self, text: str, additions: Mapping[Path, str]) -> None:
        self._text = text
        self._additions = additions
        self._documents = load_placed(text)
        self.offsets: dict[Path, int] = {}
        self.results: dict[Path, Result] = {}
        breaks = [match.start() for match in re.finditer("\n", text)]
        for path in additions:
            value = value_at(self._documents, path)
            offset = _end(text, value)
            if isinstance(offset, int):
                self.offsets[path] = offset
            start = value.start if isinstance(value, PlacedText) else -1
            line = bisect_left(breaks, start) if start >= 0 else _NO_LINE
            self.results[path] = Result(line, offset if isinstance(offset, str) else "", start)

    def changed(self) -> str:
        """Return the text with the edits. Several values may want the same one, if they are aliases of each other."""
        wanted: dict[int, set[str]] = defaultdict(set)
        for path, offset in self.offsets.items():
            wanted[offset].add(self._additions[path])
        parts, last = [], 0
        for offset, additions in sorted(wanted.items()):
            parts += [self._text[last:offset], *additions]
            last = offset
        return "".join([*parts, self._text[last:]])

    def harmful(self, changed: str) -> set[int]:
        """Return the offsets of edits that change too much or too little, all if that cannot be told."""
        every = set(self.offsets.values())
        try:
            documents = load_manifests(changed, source="").documents
        except DocumentError:
            return every
        expected = _copy(self._documents)
        for path in self.offsets:
            value_at(expected, path[:-1])[path[-1]] += self._additions[path]
        found: set[int] = set()
        for path in _differences(expected, documents):
            offset = _end(self._text, value_at(self._documents, path))
            if not isinstance(offset, int) or offset not in every:
                return every
            found.add(offset)
        return found

    def drop(self, offsets: set[int]) -> None:
        for path in [path for path, offset in self.offsets.items() if offset in offsets]:
            del self.offsets[path]
            self.results[path] = replace(self.results[path], reason=_SHARED)


def value_at(value: Any, path: Path) -> Any:
    """Return the value at the end of a path, None if there is none."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _end(text: str, value: Any) -> int | str:
    """Return the offset behind the last character of a text value, before its quote; or the reason not to write there.

    An anchor may stand before the value: whatever its aliases mean is compared afterwards.
    """
    if not isinstance(value, PlacedText):
        return ABSENT
    if value.is_tagged:
        return _TAGGED
    if value.style in _BLOCK:
        return _LINES
    anchor = _ANCHOR.match(text, value.start, value.end)
    written = text[anchor.end() if anchor else value.start : value.end]
    if not value.style:
        return value.end if written == value else _UNUSUAL
    return value.end - 1 if written[:1] == written[-1:] == value.style else _UNUSUAL


def _copy(value: Any) -> Any:
    """Return a copy in which no value stands in two places, as it does for an alias. All keys are texts."""
    return json.loads(json.dumps(value))


def _differences(expected: Any, found: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of values that differ. JSON tells apart ``1`` and ``true``, and takes no ``NaN`` for another."""
    if isinstance(expected, dict) and isinstance(found, dict) and list(expected) == list(found):
        for key, value in expected.items():
            yield from _differences(value, found[key], (*path, key))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, value in enumerate(expected):
            yield from _differences(value, found[index], (*path, index))
    elif json.dumps(expected) != json.dumps(found):
        yield path
