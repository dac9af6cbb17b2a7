"""Which YAML and JSON texts are read, and as what: strict and bounded, each word meaning what it means to Kubernetes.

Kubernetes reads YAML 1.1 without its surprises: ``yes`` and ``off`` are booleans, but dates, ``1:30`` and ``=`` are
text. Source: sigs.k8s.io/yaml and the go-yaml v2 inside it.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml
from pydantic_core import from_json

from anchore_admission.errors import DocumentError, Problem

MAX_DEPTH = 200
MAX_VALUES = 1_000_000
"""Values in one text, those behind an alias counted as often as the alias stands there."""
_MAX_PROBLEMS = 20

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_TAG = "tag:yaml.org,2002:str"
_WRITTEN_TAGS = frozenset({None, "!", _TEXT_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_MERGE = "<<"


def _spellings(*words: str) -> Iterator[str]:
    return (spelling for word in words for spelling in (word, word.capitalize(), word.upper()))


_WORDS: dict[str, Any] = {
    **dict.fromkeys(["", "~", *_spellings("null")], None),
    **dict.fromkeys(_spellings("true", "yes", "on"), True),
    **dict.fromkeys(_spellings("false", "no", "off"), False),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
}
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,63})")
_OTHER_BASE = re.compile(r"([-+]?)0(b[01]+|x[0-9a-fA-F]+|o?[0-7]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def load_documents(text: str | bytes, *, source: str, aliases: bool) -> list[Any]:
    """Every document of a YAML or JSON text that is not empty; ``source`` names the text in an error.

    Raises:
        DocumentError: it cannot be read, or says something twice; the text of the error repeats no value.
    """
    decoded = _decode(text, source)
    documents = _json(decoded)
    if documents is None:
        documents = _yaml(decoded, source, aliases=aliases)
    return [document for document in documents if document is not None]


def _decode(text: str | bytes, source: str) -> str:
    try:
        if isinstance(text, bytes):
            return text.decode("utf-8-sig")
        text.encode()
    except UnicodeError as error:
        raise DocumentError(source, [Problem("", "is not UTF-8 text")]) from error
    return text.removeprefix("\ufeff")


def _json(text: str) -> list[Any] | None:
    """The one document of a flawless JSON text. None otherwise: reading it as YAML finds the line of the flaw."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        from_json(text)  # refuses lone surrogates and nesting past 200, which the parser below does not
        return [json.loads(text, object_pairs_hook=_without_duplicates)]
    except ValueError:
        return None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("duplicate key")
    return mapping


def _yaml(text: str, source: str, *, aliases: bool) -> list[Any]:
    reader = _YamlReader(text, aliases=aliases)
    try:
        documents = list(reader.documents())
    except _Refused as refused:
        reader.problems.append(refused.problem)
    except yaml.MarkedYAMLError as error:
        reader.problems.append(Problem(_place(error.problem_mark), f"is not valid YAML: {error.problem}"))
    except yaml.YAMLError:
        reader.problems.append(Problem("", "is not valid YAML: it holds a character that YAML does not allow"))
    else:
        if not reader.problems:
            return documents
    raise DocumentError(source, reader.problems[:_MAX_PROBLEMS])


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _YamlReader:
    """Builds values from the parser's events, so that every bound holds before anything is built."""

    def __init__(self, text: str, *, aliases: bool) -> None:
        self.problems: list[Problem] = []
        self._events: Iterator[Any] = yaml.parse(text, Loader=_PARSER)
        self._aliases = aliases
        self._anchors: dict[str, tuple[Any, int]] = {}  # the value, and how many values it holds
        self._count = 0

    def documents(self) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                document = self._value(next(self._events), 0)
                if self._aliases and _too_deep(document):
                    _refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
                yield document

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag not in _WRITTEN_TAGS:
            _refuse(event, "an explicit tag is not supported; leave it out")
        if depth > MAX_DEPTH:
            _refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
        before = self._count
        self._counted(event, 1)
        value = self._built(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _built(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return _plain(event.value) if event.tag is None and event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(depth + 1)
        return self._mapping(depth + 1)

    def _sequence(self, depth: int) -> list[Any]:
        values = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, depth))
        return values

    def _mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == _MERGE and event.implicit[0]:
                merged.extend(self._merged(event, depth))
                continue
            key = _key(self._value(event, depth))
            value = self._value(next(self._events), depth)
            if key is None:
                self._note(event, "a key must be a word, a number or a truth value")
            elif key in mapping:
                self._note(event, f'duplicate key "{_shown(key)}"')
            else:
                mapping[key] = value
        for other in merged:
            mapping = {**other, **mapping}
        return mapping

    def _merged(self, event: Any, depth: int) -> list[dict[str, Any]]:
        value = self._value(next(self._events), depth)
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            _refuse(event, "<< takes a mapping or a list of mappings")
        return mappings

    def _alias(self, event: Any) -> Any:
        if not self._aliases:
            _refuse(event, "aliases are not supported here; write the value out")
        if event.anchor not in self._anchors:
            _refuse(event, "an alias must stand after the end of what it repeats")
        value, count = self._anchors[event.anchor]
        self._counted(event, count)
        return value

    def _counted(self, event: Any, count: int) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            _refuse(event, f"holds more than {MAX_VALUES} values")

    def _note(self, event: Any, message: str) -> None:
        self.problems.append(Problem(_place(event.start_mark), message))
        if len(self.problems) >= _MAX_PROBLEMS:
            _refuse(event, "and more problems after this line")


def _plain(text: str) -> Any:
    """What a word without quotes means."""
    if text in _WORDS:
        return _WORDS[text]
    if _DECIMAL.fullmatch(text):
        return int(text.replace("_", ""))
    if based := _OTHER_BASE.fullmatch(text):
        sign, digits = based.groups()
        return int(f"{sign}0{digits if digits[0] in 'bxo' else f'o{digits}'}", 0)
    return float(text) if _FLOAT.fullmatch(text) else text


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
    return bool(level)


def _values(item: dict[str, Any] | list[Any]) -> Any:
    return item.values() if isinstance(item, dict) else item


def _shown(key: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in key[:100])


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _refuse(event: Any, message: str) -> NoReturn:
    raise _Refused(Problem(_place(event.start_mark), message))
