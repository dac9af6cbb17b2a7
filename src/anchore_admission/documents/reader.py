"""Bounded reading of YAML and JSON texts, each word meaning what it means to Kubernetes.

Kubernetes reads YAML 1.1 without its surprises: ``yes``, ``y`` and ``off`` are booleans, but dates, ``1:30`` and ``=``
are text. Source: sigs.k8s.io/yaml and the go-yaml v2 inside it; kubectl 1.32 agrees on every word of the tests.
"""

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NoReturn

import yaml

from anchore_admission.errors import DocumentError, Problem
from anchore_admission.text import shown

MAX_DEPTH = 200
MAX_VALUES = 1_000_000
"""Values that the aliases of one text may repeat; what is written out is bounded by the length of the text."""
_MAX_PROBLEMS = 20

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_RESOLVED_TAGS: dict[str, tuple[type, ...]] = {
    f"{_TAG}int": (int,),
    f"{_TAG}float": (float, int),
    f"{_TAG}bool": (bool,),
    f"{_TAG}null": (type(None),),
}
"""Tags that ask for a type, whether or not the word is quoted; every other tag makes text of a word."""
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\xef\xbb\xbf": "utf-8"}
_MARK = "\ufeff"
_LATER_MARK = re.compile(r"^(---[ \t\r]{0,100}\n)\ufeff", re.MULTILINE)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_JSON_START = re.compile(r"\s*(?:\{\s*[\"}]|\[)")
_TEMPLATE = re.compile(r"^[ \t]{0,200}(?:- )?(?:[\w./-]{1,200}:[ \t]{1,50})?\{\{", re.MULTILINE)
_MERGE = "<<"


def _spellings(*words: str) -> Iterator[str]:
    return (spelling for word in words for spelling in (word, word.capitalize(), word.upper()))


_WORDS: dict[str, Any] = {
    **dict.fromkeys(["", "~", *_spellings("null")], None),
    **dict.fromkeys(_spellings("true", "yes", "on", "y"), True),
    **dict.fromkeys(_spellings("false", "no", "off", "n"), False),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
}
_NUMBER_START = frozenset("-+.0123456789")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,63})")
_OTHER_BASE = re.compile(r"([-+]?)0([bB][01]+|[xX][0-9a-fA-F]+|[oO]?[0-7]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Manifests:
    """The documents of a text, and where it says something twice: the value that counts for kubectl was taken."""

    documents: list[Any]
    notes: list[Problem] = field(default_factory=list)


def load_documents(text: str | bytes, *, source: str, aliases: bool) -> list[Any]:
    """Return every document of a YAML or JSON text that is not empty; ``source`` names the text in an error.

    Raises:
        DocumentError: it cannot be read, or says something twice; the text of the error repeats no value.
    """
    return _loaded(text, _Reading(source, aliases=aliases)).documents


def load_manifests(text: str | bytes, *, source: str, line: int = 0) -> Manifests:
    """Read what kubectl reads, as kubectl does: of a key that stands twice the last value counts, and is noted.

    ``line`` is the number of lines that stand before the text in its file.

    Raises:
        DocumentError: it cannot be read.
    """
    return _loaded(text, _Reading(source, aliases=True, repeats=True, line=line))


def decode(text: bytes, source: str) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark. Raises DocumentError."""
    mark = next((mark for mark in _BYTE_ORDER_MARKS if text.startswith(mark)), b"")
    try:
        return text[len(mark) :].decode(_BYTE_ORDER_MARKS.get(mark, "utf-8"))
    except UnicodeError as error:
        raise DocumentError(source, [Problem("", "is not UTF-8 text")]) from error


@dataclass(frozen=True, slots=True)
class _Reading:
    """The rules for reading one text; ``repeats`` accepts a key that stands twice."""

    source: str
    aliases: bool
    repeats: bool = False
    line: int = 0

    def place(self, line: int, column: int) -> str:
        """Name a place of the text, both numbers counted from 0."""
        return f"line {self.line + line + 1}, column {column + 1}"


def _loaded(text: str | bytes, reading: _Reading) -> Manifests:
    decoded = _LATER_MARK.sub(r"\1", _text(text, reading.source))
    flaw = None
    if decoded.lstrip().startswith(("{", "[")):
        try:
            return _json(decoded, repeats=reading.repeats)
        except json.JSONDecodeError as error:  # it may still be YAML
            place = reading.place(error.lineno - 1, error.colno - 1)
            flaw = Problem(place, f"is not valid JSON: {error.msg[0].lower()}{error.msg[1:]}")
        except (ValueError, RecursionError):  # reading it as YAML finds the line
            pass
    return _yaml(decoded, reading, flaw if _JSON_START.match(decoded) else None)


def _text(text: str | bytes, source: str) -> str:
    if isinstance(text, bytes):
        return decode(text, source)
    try:
        text.encode()
    except UnicodeError as error:
        raise DocumentError(source, [Problem("", "is not UTF-8 text")]) from error
    return text.removeprefix(_MARK)


def _json(text: str, *, repeats: bool) -> Manifests:
    """Return the values of a JSON text, which may stand one after another. Raises ValueError, RecursionError."""
    keys: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            if not repeats:
                raise ValueError("duplicate key")
            counts = Counter(name for name, _ in pairs)
            repeated = (name for name, count in counts.items() if count > 1)
            keys.extend(islice(repeated, _MAX_PROBLEMS - len(keys)))
        return made

    decoder = json.JSONDecoder(object_pairs_hook=mapping)
    documents = []
    position = _after_space(text, 0)
    while position < len(text):
        value, end = decoder.raw_decode(text, position)
        if _too_deep(value):
            raise ValueError("too deep")
        if value is not None:
            documents.append(value)
        position = _after_space(text, end)
    if _SURROGATE.search(text):
        for document in documents:
            json.dumps(document, ensure_ascii=False).encode()  # refuses lone surrogates
    notes = [Problem("", f'duplicate key "{shown(key)}": the last value counts, as for kubectl') for key in keys]
    return Manifests(documents, notes)


def _after_space(text: str, position: int) -> int:
    """Skip the white space of JSON, and byte order marks between values."""
    while position < len(text) and text[position] in " \t\r\n\ufeff":
        position += 1
    return position


def _yaml(text: str, reading: _Reading, flaw: Problem | None) -> Manifests:
    """Read YAML; ``flaw`` is what makes the text invalid JSON, and is reported if it is no YAML either."""
    reader = _YamlReader(text, reading)
    documents: list[Any] = []
    try:
        documents += [document for document in reader.documents() if document is not None]
    except _Refused as refused:
        reader.problems.append(refused.problem)
    except yaml.YAMLError as error:
        reader.problems = [flaw or _yaml_problem(error, text, reading)]
    if not reader.problems:
        return Manifests(documents, reader.notes)
    hint = _template_hint(text, reading, reader.problems[0])
    raise DocumentError(reading.source, [hint] if hint else reader.problems[:_MAX_PROBLEMS])


def _template_hint(text: str, reading: _Reading, problem: Problem) -> Problem | None:
    """Return a better explanation where ``{{`` stands for a value at, or just before, the place of a problem."""
    line, counted = 0, 0
    for match in _TEMPLATE.finditer(text):
        start = match.end() - 2
        line, counted = line + text.count("\n", counted, start), start
        column = start - text.rfind("\n", 0, start) - 1
        if any(problem.path.startswith(f"{reading.place(line + after, 0).partition(',')[0]},") for after in range(3)):
            hint = "looks like a Helm template that is not rendered; use the output of helm template"
            return Problem(reading.place(line, column), hint)
    return None


def _yaml_problem(error: yaml.YAMLError, text: str, reading: _Reading) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        place = reading.place(mark.line, mark.column) if mark else ""
        return Problem(place, f"is not valid YAML: {error.problem}")
    position = next((i for i, character in enumerate(text) if _is_forbidden(character)), -1)
    place = reading.place(text.count("\n", 0, position), 0).partition(",")[0] if position >= 0 else ""
    return Problem(place, "is not valid YAML: it holds a character that YAML does not allow")


def _is_forbidden(character: str) -> bool:
    return character < " " and character not in "\t\r\n"


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _YamlReader:
    """Builds values from the parser's events, so that every bound holds before anything is built."""

    def __init__(self, text: str, reading: _Reading) -> None:
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
                self._anchors.clear()
                document = self._value(next(self._events), 0)
                if self._reading.aliases and _too_deep(document):
                    self._refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
                yield document

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            self._refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
        before = self._count
        self._count += 1
        value = self._built(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _built(self, event: Any, depth: int) -> Any:
        """Build a value; the tag of a mapping or a list means nothing to Kubernetes."""
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(depth + 1)
        return self._mapping(depth + 1)

    def _scalar(self, event: Any) -> Any:
        if event.tag is None:
            return _plain(event.value) if event.implicit[0] else event.value
        name = event.tag.removeprefix(_TAG)
        if name == "binary":
            try:
                return base64.b64decode("".join(event.value.split()), validate=True).decode(errors="replace")
            except ValueError:
                self._refuse(event, "!!binary takes base64")
        types = _RESOLVED_TAGS.get(event.tag)
        if types is None:
            return event.value
        value = _plain(event.value)
        if type(value) not in types:
            self._refuse(event, f"!!{name} does not fit the value")
        return value

    def _sequence(self, depth: int) -> list[Any]:
        values = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, depth))
        return values

    def _mapping(self, depth: int) -> dict[str, Any]:
        """Build a mapping; like go-yaml v2, let a merge override the keys before it."""
        mapping: dict[str, Any] = {}
        written: set[str] = set()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if _is_merge(event):
                self._merge(event, depth, mapping, written)
                continue
            key = _key(self._value(event, depth))
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
            self._refuse(event, "<< takes a mapping or a list of mappings")
        for other in reversed(others):
            for key in written & other.keys():
                self._repeat(event, f'<< stands after the key "{shown(key)}", which it also holds', "<< wins")
            mapping.update(other)

    def _alias(self, event: Any) -> Any:
        if not self._reading.aliases:
            self._refuse(event, "aliases are not supported here; write the value out")
        if event.anchor not in self._anchors:
            self._refuse(event, "an alias must stand after the end of what it repeats")
        value, count = self._anchors[event.anchor]
        self._count += count
        self._repeated += count
        if self._repeated > MAX_VALUES:
            self._refuse(event, f"aliases repeat more than {MAX_VALUES} values")
        return value

    def _repeat(self, event: Any, message: str, winner: str) -> None:
        if not self._reading.repeats:
            self._problem(event, message)
        elif len(self.notes) < _MAX_PROBLEMS:
            self.notes.append(Problem(self._place(event), f"{message}: {winner}, as for kubectl"))

    def _problem(self, event: Any, message: str) -> None:
        self.problems.append(Problem(self._place(event), message))
        if len(self.problems) >= _MAX_PROBLEMS:
            self._refuse(event, "and more problems after this line")

    def _place(self, event: Any) -> str:
        return self._reading.place(event.start_mark.line, event.start_mark.column)

    def _refuse(self, event: Any, message: str) -> NoReturn:
        raise _Refused(Problem(self._place(event), message))


def _is_merge(event: Any) -> bool:
    if not isinstance(event, yaml.ScalarEvent) or event.value != _MERGE:
        return False
    return event.implicit[0] if event.tag is None else event.tag in {"!", f"{_TAG}merge"}


def _plain(text: str) -> Any:
    """Return the meaning of a word without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    word, text = text, text.replace("_", "")
    if _DECIMAL.fullmatch(text):
        return int(text)
    if based := _OTHER_BASE.fullmatch(text):
        sign, digits = based.groups()
        return int(f"{sign}0{digits if digits[0] in 'bBxXoO' else f'o{digits}'}", 0)
    return float(text) if _FLOAT.fullmatch(text) else word


def _key(value: Any) -> str | None:
    """Keys of manifests are text: ``8080:`` and ``on:`` mean what sigs.k8s.io/yaml makes of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else None


def _too_deep(document: Any) -> bool:
    """Aliases nest what they repeat; no recursion, since the answer may be thousands of levels."""
    level = [document]
    for _ in range(MAX_DEPTH + 2):
        level = [value for item in level if isinstance(item, dict | list) for value in _values(item)]
        if not level:
            return False
    return True


def _values(item: dict[str, Any] | list[Any]) -> Any:
    return item.values() if isinstance(item, dict) else item
