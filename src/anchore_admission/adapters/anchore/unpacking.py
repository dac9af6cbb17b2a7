"""Decompress a response within a bound: a small body may unpack to gigabytes."""

import zlib
from typing import Protocol

from anchore_admission.errors import AnchoreResponseInvalid

_GZIP_OR_ZLIB = 47  # zlib's window bits: the largest window, either header


class Unpacking(Protocol):
    def feed(self, chunk: bytes, room: int) -> bytes:
        """Take a chunk, return at most ``room`` bytes and keep the rest. Raises AnchoreResponseInvalid."""

    def finish(self) -> None:
        """Raise AnchoreResponseInvalid if the end is missing."""


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
            raise AnchoreResponseInvalid("Anchore's response is not valid gzip") from error

    def finish(self) -> None:
        if not self._stream.eof:
            raise AnchoreResponseInvalid("Anchore's response is cut short")


def unpacking(encoding: str) -> Unpacking:
    """Return the decompression for a Content-Encoding.

    Requests accept gzip only, so most others are an error. Raises AnchoreResponseInvalid.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip" | "deflate":
            return _Gzip()
        case _:
            raise AnchoreResponseInvalid("Anchore's response has a Content-Encoding that was not requested")
