"""The files that people name: read whole, within bounds, each document of them on its own."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from anchore_admission.cli.failures import note
from anchore_admission.core.messages import shown
from anchore_admission.errors import ConfigurationError, DocumentError, Problem
from anchore_admission.services.documents import load_documents
from anchore_admission.services.manual import Document

STANDARD_INPUT = "-"
FILE_LIMIT = 32 * 1024 * 1024
_ENDINGS = (".yaml", ".yml", ".json")
_SEPARATOR = re.compile(rb"^(?=---(?:\s|$))", re.MULTILINE)


class _Unreadable(Exception):
    """A file, or what stands for one, that cannot be read; the text says why."""


def read_documents(names: Sequence[str]) -> list[Document]:
    """The documents of files, directories and (``-``) standard input, each name once, in the order given."""
    documents = [document for name in dict.fromkeys(names) for document in _named(name)]
    return documents or [Document(source=", ".join(map(_source, names)), problem="holds nothing to review")]


def read_images(images: Sequence[str]) -> list[str]:
    """The images named; ``-`` stands for one a line on standard input. Raises ConfigurationError."""
    if STANDARD_INPUT not in images:
        return list(images)
    try:
        text = _read(STANDARD_INPUT).decode()
    except (_Unreadable, UnicodeDecodeError) as error:
        raise ConfigurationError(_source(STANDARD_INPUT), [Problem("", str(error))]) from error
    listed = list(filter(None, map(str.strip, text.splitlines())))
    if not listed:
        raise ConfigurationError(_source(STANDARD_INPUT), [Problem("", "names no image")])
    return [image for name in images for image in (listed if name == STANDARD_INPUT else [name])]


def read_configuration_file(path: Path) -> tuple[bytes, str]:
    """The text, and what to call it. Raises ConfigurationError."""
    source = _source(str(path))
    try:
        return _read(str(path)), source
    except _Unreadable as error:
        raise ConfigurationError(source, [Problem("", str(error))]) from error


def _named(name: str) -> Iterator[Document]:
    if name == STANDARD_INPUT or not Path(name).is_dir():
        yield from _documents(name)
        return
    files = sorted(_files(name))
    if not files:
        yield Document(source=shown(name), problem=f"holds no file that ends in {', '.join(_ENDINGS)}")
    for file in files:
        yield from _documents(file)


def _files(directory: str) -> Iterator[str]:
    """Hidden ones are left out: repositories, and the doubles that Kubernetes keeps in mounted volumes."""
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.endswith(_ENDINGS) and not name.startswith("."):
                yield str(Path(folder) / name)


def _documents(name: str) -> Iterator[Document]:
    source = _source(name)
    try:
        text = _read(name)
    except _Unreadable as error:
        yield Document(source=source, problem=str(error))
        return
    parts = _SEPARATOR.split(text)
    if len(parts) > 1 and _is_blank(parts[0]):
        del parts[0]
    line = text.count(b"\n") - sum(part.count(b"\n") for part in parts)
    for number, part in enumerate(parts, 1):
        place = f"{source}, document {number}" if len(parts) > 1 else source
        yield from _parsed(part, place, line)
        line += part.count(b"\n")


def _parsed(part: bytes, source: str, line: int) -> Iterator[Document]:
    """A document that cannot be read is read again behind as many empty lines as stand before it in its file."""
    try:
        values = load_documents(part, source=source, aliases=True)
    except DocumentError:
        try:
            values = load_documents(b"\n" * line + part, source=source, aliases=True)
        except DocumentError as error:
            yield Document(source=source, problem="; ".join(map(str, error.problems)))
            return
    for value in values:
        yield Document(value, source)


def _source(name: str) -> str:
    return "standard input" if name == STANDARD_INPUT else shown(name)


def _is_blank(part: bytes) -> bool:
    return all(
        not line.strip() or line.startswith((b"#", b"%")) for line in part.removeprefix(b"\xef\xbb\xbf").splitlines()
    )


def _read(name: str) -> bytes:
    try:
        if name == STANDARD_INPUT:
            if sys.stdin.isatty():
                note("Reading from the terminal; Ctrl-D ends it.")
            text = sys.stdin.buffer.read(FILE_LIMIT + 1)
        else:
            with Path(name).open("rb") as file:
                text = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise _Unreadable(f"cannot be read: {error.strerror or error}") from error
    if len(text) > FILE_LIMIT:
        raise _Unreadable(f"is larger than {FILE_LIMIT // 1024 // 1024} MiB")
    return text
