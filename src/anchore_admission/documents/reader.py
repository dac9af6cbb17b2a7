"""Read YAML and JSON texts as Kubernetes does, within bounds; every problem names its line."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import yaml

from anchore_admission.documents.placed import placing_decoder
from anchore_admission.documents.yaml_reader import MAX_DEPTH, MAX_PROBLEMS, Reading, Rejected, YamlReader, too_deep
from anchore_admission.errors import DocumentError, Problem
from anchore_admission.text import shown

_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\xef\xbb\xbf": "utf-8"}
_MARK = "\ufeff"
_LATER_MARK = re.compile(r"^(---[ \t\r]{0,100}\n)\ufeff", re.MULTILINE)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_JSON_START = re.compile(r"\s*(?:\{\s*[\"}]|\[)")
_TEMPLATE = re.compile(r"^[ \t]{0,200}(?:- )?(?:[\w./-]{1,200}:[ \t]{1,50})?\{\{", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Manifests:
    """The documents of a text, and a note for each duplicate key, whose last value counts, as for kubectl."""

    documents: list[Any]
    notes: list[Problem] = field(default_factory=list)


def load_documents(text: str | bytes, *, source: str, aliases: bool, depth: int = MAX_DEPTH) -> list[Any]:
    """Return the documents of a YAML or JSON text that are not empty; ``source`` names the text in an error.

    Raises:
        DocumentError: the text cannot be read or has duplicate keys; the error repeats no value.
    """
    return _loaded(text, Reading(source, aliases=aliases, depth=depth)).documents


def load_manifests(text: str | bytes, *, source: str, line: int = 0) -> Manifests:
    """Read a text as kubectl does: of a duplicate key the last value counts, and a note says so.

    ``line`` is the number of lines before the text in its file.

    Raises:
        DocumentError: the text cannot be read.
    """
    return _loaded(text, Reading(source, aliases=True, repeats=True, line=line))


def load_placed(text: str) -> list[Any]:
    """Read a text as ``load_manifests`` does; its text values know their places (``PlacedText``).

    Raises:
        DocumentError: the text cannot be read.
    """
    return _loaded(text, Reading("", aliases=True, repeats=True, places=True)).documents


def decode(text: bytes, source: str) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark. Raises DocumentError."""
    mark = next((mark for mark in _BYTE_ORDER_MARKS if text.startswith(mark)), b"")
    try:
        return text[len(mark) :].decode(_BYTE_ORDER_MARKS.get(mark, "utf-8"))
    except UnicodeError as error:
        raise DocumentError(source, [Problem("", "is not UTF-8 text")]) from error


def _loaded(text: str | bytes, reading: Reading) -> Manifests:
    decoded = _LATER_MARK.sub(r"\1", _text(text, reading.source))
    flaw = None
    if decoded.lstrip().startswith(("{", "[")):
        try:
            return _json(decoded, reading)
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


def _json(text: str, reading: Reading) -> Manifests:
    """Return the values of a JSON text, one or several in a row. Raises ValueError, RecursionError."""
    keys: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            if not reading.repeats:
                raise ValueError("duplicate key")
            counts = Counter(name for name, _ in pairs)
            repeated = (name for name, count in counts.items() if count > 1)
            keys.extend(islice(repeated, MAX_PROBLEMS - len(keys)))
        return made

    decoder = placing_decoder(mapping) if reading.places else json.JSONDecoder(object_pairs_hook=mapping)
    documents = []
    position = _after_space(text, 0)
    while position < len(text):
        value, end = decoder.raw_decode(text, position)
        if too_deep(value, reading.depth):
            raise ValueError("too deep")
        if value is not None:
            documents.append(value)
        position = _after_space(text, end)
    if _SURROGATE.search(text):
        for document in documents:
            json.dumps(document, ensure_ascii=False).encode()  # rejects lone surrogates
    notes = [Problem("", f'duplicate key "{shown(key)}": the last value counts, as for kubectl') for key in keys]
    return Manifests(documents, notes)


def _after_space(text: str, position: int) -> int:
    """Skip JSON's white space, and byte order marks between values."""
    while position < len(text) and text[position] in " \t\r\n\ufeff":
        position += 1
    return position


def _yaml(text: str, reading: Reading, flaw: Problem | None) -> Manifests:
    """Read YAML; ``flaw`` makes the text invalid JSON, and is reported if it is invalid YAML, too."""
    reader = YamlReader(text, reading)
    documents: list[Any] = []
    try:
        documents += [document for document in reader.documents() if document is not None]
    except Rejected as refused:
        reader.problems.append(refused.problem)
    except yaml.YAMLError as error:
        reader.problems = [flaw or _yaml_problem(error, text, reading)]
    if not reader.problems:
        return Manifests(documents, reader.notes)
    hint = _template_hint(text, reading, reader.problems[0])
    raise DocumentError(reading.source, [hint] if hint else reader.problems[:MAX_PROBLEMS])


def _template_hint(text: str, reading: Reading, problem: Problem) -> Problem | None:
    """Return a better explanation if ``{{`` stands at, or just before, the place of a problem."""
    line, counted = 0, 0
    for match in _TEMPLATE.finditer(text):
        start = match.end() - 2
        line, counted = line + text.count("\n", counted, start), start
        column = start - text.rfind("\n", 0, start) - 1
        if any(problem.path.startswith(f"{reading.place(line + after, 0).partition(',')[0]},") for after in range(3)):
            hint = "looks like a Helm template that is not rendered; use the output of helm template"
            return Problem(reading.place(line, column), hint)
    return None


def _yaml_problem(error: yaml.YAMLError, text: str, reading: Reading) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        place = reading.place(mark.line, mark.column) if mark else ""
        return Problem(place, f"is not valid YAML: {error.problem}")
    position = next((i for i, character in enumerate(text) if character < " " and character not in "\t\r\n"), -1)
    place = reading.place(text.count("\n", 0, position), 0).partition(",")[0] if position >= 0 else ""
    return Problem(place, "is not valid YAML: it holds a character that YAML does not allow")
