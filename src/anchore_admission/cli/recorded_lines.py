"""Read files of recorded requests line by line: any length, a bounded part of them in memory."""

import gzip
import sys
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from anchore_admission.cli.failures import note
from anchore_admission.cli.inputs import STANDARD_INPUT
from anchore_admission.services.replay.entries import Entry, Unread
from anchore_admission.services.replay.recorded import RecordedRequests
from anchore_admission.text import shown

LINE_LIMIT = 16 * 1024 * 1024
"""An object in etcd has 1.5 MiB at most; an AdmissionReview holds two, an EventList several hundred."""
_BATCH = 200
_BATCH_BYTES = 4 * 1024 * 1024


async def recorded_entries(names: Sequence[str]) -> AsyncIterator[Sequence[Entry]]:
    """Yield the entries of files and (``-``) standard input in batches; ``*.gz`` is decompressed."""
    requests = RecordedRequests()
    batch: list[Entry] = []
    size = 0
    for source, line in _lines(names):
        batch.extend(requests.read(line, source) if isinstance(line, bytes) else [line])
        size += len(line) if isinstance(line, bytes) else 0
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _lines(names: Sequence[str]) -> Iterator[tuple[str, bytes | Unread]]:
    for name in dict.fromkeys(names):
        source = "standard input" if name == STANDARD_INPUT else shown(name)
        try:
            with _opened(name) as file:
                for number, line in enumerate(_bounded(file), 1):
                    place = f"{source}, line {number}"
                    if line is None:
                        yield place, Unread(place, f"the line is longer than {LINE_LIMIT // 1024 // 1024} MiB")
                    elif line.strip():
                        yield place, line
        except (OSError, EOFError, zlib.error) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            yield source, Unread(source, f"cannot be read: {reason}")


def _opened(name: str) -> BinaryIO:
    if name == STANDARD_INPUT:
        if sys.stdin is None:
            raise OSError("it is closed")
        if sys.stdin.isatty():
            note("Reading from the terminal; Ctrl-D ends it.")
        return sys.stdin.buffer
    return cast("BinaryIO", gzip.open(name)) if name.endswith(".gz") else Path(name).open("rb")


def _bounded(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line, None for one that is too long, which is skipped in parts."""
    while line := file.readline(LINE_LIMIT + 1):
        if len(line) <= LINE_LIMIT:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LINE_LIMIT)
        yield None
