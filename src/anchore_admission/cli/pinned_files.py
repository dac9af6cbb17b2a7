"""The output of ``review --pin``: a diff or the manifests on stdout, and a line for each image on stderr."""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from anchore_admission.cli.failures import note
from anchore_admission.cli.inputs import STANDARD_INPUT, Input, Part, begins_with_separator
from anchore_admission.documents.image_edits import append
from anchore_admission.documents.unified_diff import unified_diff
from anchore_admission.services.reviews.manifest_pins import ManifestPin, manifest_pins
from anchore_admission.services.reviews.summary import Summary
from anchore_admission.text import shown

_UTF16 = "the file is UTF-16, which git takes for binary; convert it to UTF-8, or use --pin document"
_OUTSIDE = (
    "is not below the current directory, so git apply does not find it; run the command in a directory that holds all "
    "files, or apply the diff with patch -p1 -d /"
)
_NOTHING = "Nothing to pin: no image is named by a tag alone"
_MARK = "\ufeff"


class PinFormat(StrEnum):
    """A diff for ``git apply``, or the whole text of the manifests."""

    DIFF = "diff"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class _PinnedFile:
    """A file before and after, and what is to be said about its images."""

    input: Input
    text: str
    lines: tuple[str, ...]
    pinned: int


def write_pinned(inputs: Sequence[Input], summary: Summary, form: PinFormat) -> None:
    """Print the manifests with every admitted tag pinned. ``summary`` has one review for each of their objects.

    Nothing else reaches stdout, so that it can be applied or redirected.
    """
    files = list(_pinned(inputs, summary, form))
    lines = [line for file in files for line in file.lines]
    pinned = sum(file.pinned for file in files)
    counted = f"{pinned} {'image' if pinned == 1 else 'images'} pinned, {len(lines) - pinned} not pinned"
    note("\n".join([*lines, counted if lines or summary.unread else _NOTHING]))
    if form is PinFormat.DIFF:
        for file in files:
            if file.pinned and not _is_below_here(file.input.name):
                note(f"Note: {shown(file.input.name)} {_OUTSIDE}")
        text = "".join(unified_diff(_path(file.input.name), file.input.text, file.text) for file in files)
    else:
        text = _joined([file.text for file in files if file.text])
    sys.stdout.flush()
    # Bytes, because the text layer would translate line ends, and fail at what the terminal's encoding lacks.
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _pinned(inputs: Sequence[Input], summary: Summary, form: PinFormat) -> Iterator[_PinnedFile]:
    values = [document.value for each in inputs for part in each.parts for document in part.documents]
    pins: dict[int | str, list[ManifestPin]] = defaultdict(list)
    for pin in manifest_pins(values, summary.reviews):
        pins[pin.path[0]].append(pin)
    seen: set[str] = set()
    first = 0
    for each in inputs:
        texts, lines, pinned = [each.head], [], 0
        for part in each.parts:
            own = [
                replace(pin, path=(number, *pin.path[1:]))
                for number in range(len(part.documents))
                for pin in pins[first + number]
            ]
            first += len(part.documents)
            if each.is_utf16 and form is PinFormat.DIFF:
                own = [replace(pin, addition="", reason=pin.reason or _UTF16) for pin in own]
            text, told = _edited(each.source, part, own)
            texts.append(text)
            lines += [line for _, line in told]
            pinned += sum(is_pinned for is_pinned, _ in told)
        # A file may also be in a directory that is named, or have a link to it.
        real = each.name if each.name == STANDARD_INPUT else os.path.realpath(each.name)
        if real not in seen:
            seen.add(real)
            yield _PinnedFile(each, "".join(texts), tuple(lines), pinned)


def _edited(source: str, part: Part, pins: Sequence[ManifestPin]) -> tuple[str, list[tuple[bool, str]]]:
    """Return the text of a part with its pins, and for each pin, whether it was made and the line that says so."""
    edited = append(part.text.removeprefix(_MARK), {pin.path: pin.addition for pin in pins})
    told: dict[tuple[int, str], tuple[bool, str]] = {}
    for pin in sorted(pins, key=lambda pin: edited.results[pin.path].line):
        result = edited.results[pin.path]
        reason = pin.reason or result.reason
        place = f"{source}:{part.line + result.line + 1}" if result.line >= 0 else source
        what = f"not pinned: {shown(reason)}" if reason else f"pinned to {pin.digest}{_since(pin)}"
        # Aliases stand for the same text: one line is enough.
        key = (result.start, what) if result.start >= 0 else (-1, f"{len(told)}")
        told[key] = (not reason, f"{place}: {shown(pin.image)} {what}")
    mark = _MARK if part.text.startswith(_MARK) else ""
    return f"{mark}{edited.text}", list(told.values())


def _since(pin: ManifestPin) -> str:
    return f", where Anchore has seen the tag since {pin.detected_at}" if pin.detected_at else ""


def _path(name: str) -> str:
    """Return the path for a diff: below the current directory, where ``git apply`` expects it, or else absolute."""
    if name == STANDARD_INPUT:
        return name
    path = Path(name).resolve()
    return (path.relative_to(Path.cwd()) if _is_below_here(name) else path).as_posix().removeprefix("/")


def _is_below_here(name: str) -> bool:
    return name == STANDARD_INPUT or Path(name).resolve().is_relative_to(Path.cwd())


def _joined(texts: Sequence[str]) -> str:
    """Return one text; several become one stream of documents, each beginning with a separator."""
    if len(texts) == 1:
        return texts[0]
    parts = []
    for text in texts:
        plain = text.removeprefix(_MARK)
        begun = plain if begins_with_separator(plain) else f"---\n{plain}"
        parts.append(begun if begun.endswith("\n") else f"{begun}\n")
    return "".join(parts)
