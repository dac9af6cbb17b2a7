"""Read the files named on the command line: whole, within bounds, split into documents."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
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


def read_documents(names: Sequence[str]) -> list[Document]:
    """Return the documents of files, directories and (``-``) standard input, each name once, in the order given."""
    documents = [document for name in dict.fromkeys(names) for document in _named(name)]
    return documents or [Document(source=", ".join(map(_source, names)), problem="holds nothing to review")]


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


def _named(name: str) -> Iterator[Document]:
    if not name:
        yield Document(source='""', problem="names no file: the text is empty")
        return
    if name == STANDARD_INPUT or not Path(name).is_dir():
        yield from _documents(name)
        return
    unreadable: list[Document] = []

    def cannot_list(error: OSError) -> None:
        problem = f"cannot be read: {error.strerror or error}"
        unreadable.append(Document(source=shown(str(error.filename or name)), problem=problem))

    files = sorted(_files(name, cannot_list))
    yield from unreadable
    if not files and not unreadable:
        yield Document(source=shown(name), problem=f"holds no file that ends in {', '.join(_ENDINGS)}")
    for file in files:
        yield from _documents(file)


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


def _documents(name: str) -> Iterator[Document]:
    source = _source(name)
    try:
        text = decode(_read(name), source)
    except _Unreadable as error:
        yield Document(source=source, problem=str(error))
        return
    except DocumentError as error:
        yield Document(source=source, problem="; ".join(map(str, error.problems)))
        return
    parts = _SEPARATOR.split(text)
    if len(parts) > 1 and _is_blank(parts[0]):
        del parts[0]
    line = text.count("\n") - sum(part.count("\n") for part in parts)
    for number, part in enumerate(parts, 1):
        place = f"{source}, document {number}" if len(parts) > 1 else source
        yield from _parsed(part, place, line)
        line += part.count("\n")


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
