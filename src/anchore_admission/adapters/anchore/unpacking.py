"""Unpack an answer's bytes without ever holding more of them than is allowed."""

import zlib
from typing import Protocol

from anchore_admission.errors import AnchoreReplyInvalid

_GZIP_OR_ZLIB = 47  # zlib's window bits: the largest window, either header


class Unpacking(Protocol):
    def feed(self, chunk: bytes, room: int) -> bytes:
        """Return at most ``room`` bytes of what was fed and not returned yet. Raises AnchoreReplyInvalid."""

    def finish(self) -> None:
        """Raises AnchoreReplyInvalid when the end is missing."""


class _Plain:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes, room: int) -> bytes:
        found = self._rest + chunk
        self._rest = found[room:]
        return found[:room]

    def finish(self) -> None:
        pass


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, chunk: bytes, room: int) -> bytes:
        try:
            return self._stream.decompress(self._stream.unconsumed_tail + chunk, room)
        except zlib.error as error:
            raise AnchoreReplyInvalid("Anchore's answer is not the gzip it claims to be") from error

    def finish(self) -> None:
        if not self._stream.eof:
            raise AnchoreReplyInvalid("Anchore's answer is cut short")


def unpacking(encoding: str) -> Unpacking:
    """For a Content-Encoding; we ask for gzip, so anything else is an error. Raises AnchoreReplyInvalid."""
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip" | "deflate":
            return _Gzip()
        case _:
            raise AnchoreReplyInvalid("Anchore's answer is packed in a way that was not asked for")
