"""Read the files named on the command line: whole, within bounds, split into documents."""

import os
import re
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from anchore_admission.cli.failures import note
from anchore_admission.documents.reader import decode, load_manifests
from anchore_admission.errors import ConfigurationError, DocumentError, Problem
from anchore_admission.services.reviews.manual import Document
from anchore_admission.text import shown

STANDARD_INPUT = "-"
FILE_LIMIT = 256 * 1024 * 1024
_ENDINGS = (".yaml", ".yml", ".json")
# A byte order mark may stand before a separator where two files were joined.
_SEPARATOR = re.compile(r"^(?=\ufeff?---(?:\s|$))", re.MULTILINE)
_MARK = "\ufeff"
_MAX_NOTES = 20


class _Unreadable(Exception):
    """A file or standard input cannot be read; the text is the cause."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file, up to the next separator. ``line`` is the number of lines before it."""

    text: str
    line: int
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """A file or standard input. ``name`` is the one given, ``source`` the one for messages.

    ``head`` is the text before the first part, which holds no document. ``parts`` of a file that cannot be read have no
    text.
    """

    name: str
    source: str
    parts: tuple[Part, ...]
    head: str = ""
    is_utf16: bool = False

    @property
    def text(self) -> str:
        """The whole text, with its byte order mark in UTF-8."""
        return "".join([self.head, *(part.text for part in self.parts)])


def read_documents(names: Sequence[str]) -> list[Document]:
    """Return the documents of files, directories and (``-``) standard input, each name once, in the order given."""
    return documents_of(_inputs(names)) or [_nothing(names)]


def read_inputs(names: Sequence[str]) -> list[Input]:
    """Return the same documents with the texts of their files."""
    inputs = list(_inputs(names))
    return inputs if documents_of(inputs) else [*inputs, Input("", "", (Part("", 0, (_nothing(names),)),))]


def documents_of(inputs: Iterable[Input]) -> list[Document]:
    return [document for each in inputs for part in each.parts for document in part.documents]


def _inputs(names: Sequence[str]) -> Iterator[Input]:
    return (each for name in dict.fromkeys(names) for each in _named(name))


def _nothing(names: Sequence[str]) -> Document:
    return Document(source=", ".join(map(_source, names)), problem="holds nothing to review")


def read_images(images: Sequence[str]) -> list[str]:
    """Return the images named; ``-`` stands for those on standard input, one per line.

    Quotes around a line are removed, because ``grep`` prints them from manifests; ``#`` begins a comment.

    Raises:
        ConfigurationError: standard input cannot be read or names no image.
    """
    if STANDARD_INPUT not in images:
        return [_image(image) for image in images]
    source = _source(STANDARD_INPUT)
    try:
        text = decode(_read(STANDARD_INPUT), source)
    except _Unreadable as error:
        raise ConfigurationError(source, [Problem("", str(error))]) from error
    except DocumentError as error:
        raise ConfigurationError(source, error.problems) from error
    listed = list(filter(None, map(_listed_image, text.splitlines())))
    if not listed:
        raise ConfigurationError(source, [Problem("", "names no image")])
    return [image for name in images for image in (listed if name == STANDARD_INPUT else [_image(name)])]


def _image(argument: str) -> str:
    """Replace the bytes of an argument that are not valid in the terminal's encoding."""
    return argument.encode(errors="surrogateescape").decode(errors="replace")


def _listed_image(line: str) -> str:
    image = line.strip().removeprefix(_MARK)
    if image.startswith("#"):
        return ""
    for quote in "\"'":
        if len(image) > 1 and image[0] == image[-1] == quote:
            return image[1:-1].strip()
    return image


def read_configuration_file(path: Path) -> tuple[bytes, str]:
    """Return the text and its name for messages. Raises ConfigurationError."""
    source = _source(str(path))
    try:
        return _read(str(path)), source
    except _Unreadable as error:
        raise ConfigurationError(source, [Problem("", str(error))]) from error


def _named(name: str) -> Iterator[Input]:
    if not name:
        yield _unread(name, '""', "names no file: the text is empty")
        return
    if name == STANDARD_INPUT or not Path(name).is_dir():
        yield _input(name)
        return
    unreadable: list[Input] = []

    def cannot_list(error: OSError) -> None:
        problem = f"cannot be read: {error.strerror or error}"
        unreadable.append(_unread(name, shown(str(error.filename or name)), problem))

    files = sorted(_files(name, cannot_list))
    yield from unreadable
    if not files and not unreadable:
        yield _unread(name, shown(name), f"holds no file that ends in {', '.join(_ENDINGS)}")
    for file in files:
        yield _input(file)


def _unread(name: str, source: str, problem: str) -> Input:
    return Input(name, source, (Part("", 0, (Document(source=source, problem=problem),)),))


def _files(directory: str, cannot_list: Callable[[OSError], None]) -> Iterator[str]:
    """Find manifests at any depth; ``cannot_list`` is called for directories that cannot be read.

    Hidden ones are left out: repositories, and the copies that Kubernetes keeps in mounted volumes.
    """
    for folder, folders, names in os.walk(directory, onerror=cannot_list):
        # In place: ``os.walk`` descends into the folders that are left in this list.
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.endswith(_ENDINGS) and not name.startswith("."):
                yield str(Path(folder) / name)


def _input(name: str) -> Input:
    source = _source(name)
    try:
        read = _read(name)
        text = decode(read, source)
    except _Unreadable as error:
        return _unread(name, source, str(error))
    except DocumentError as error:
        return _unread(name, source, "; ".join(map(str, error.problems)))
    head = _MARK if read.startswith(BOM_UTF8) else ""
    texts = _SEPARATOR.split(text)
    if len(texts) > 1 and _is_blank(texts[0]):
        head += texts.pop(0)
    parts = []
    line = head.count("\n")
    for number, part in enumerate(texts, 1):
        place = f"{source}, document {number}" if len(texts) > 1 else source
        parts.append(Part(part, line, tuple(_parsed(part, place, line))))
        line += part.count("\n")
    return Input(name, source, tuple(parts), head, is_utf16=read.startswith((BOM_UTF16_LE, BOM_UTF16_BE)))


def _parsed(part: str, source: str, line: int) -> Iterator[Document]:
    """Read one document, or several of JSON; ``line`` is the number of lines before it in its file."""
    try:
        manifests = load_manifests(part, source=source, line=line)
    except DocumentError as error:
        yield Document(source=source, problem="; ".join(map(str, error.problems)))
        return
    for problem in manifests.notes[:_MAX_NOTES]:
        note(f"Note: {source}: {problem}")
    for value in manifests.documents:
        yield Document(value, source)


def begins_with_separator(text: str) -> bool:
    """Return whether nothing but comments stands before the first separator of a text."""
    match = _SEPARATOR.search(text)
    return match is not None and _is_blank(text[: match.start()])


def _source(name: str) -> str:
    return "standard input" if name == STANDARD_INPUT else shown(name)


def _is_blank(part: str) -> bool:
    return all(not line.strip() or line.startswith(("#", "%")) for line in part.removeprefix(_MARK).splitlines())


def _read(name: str) -> bytes:
    try:
        if name == STANDARD_INPUT:
            if sys.stdin is None:
                raise _Unreadable("cannot be read: it is closed")
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
