# ruff: noqa: INP001 - beside the script that imports it
"""Cuts off what nothing reads that runs: symbols and debugging information, which stand behind an ELF file's segments.

Programs and the dynamic linker find everything by the program headers. The table of sections, and what only that names,
is for linkers and debuggers. There is no ``strip`` in the slim base images.
"""

import os
import struct
from pathlib import Path

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01\x01"
_SECTIONS = ((40, "<Q"), (60, "<H"), (62, "<H"))
"""Where the header has the place of the table of sections, its length, and which section holds the names."""
_UNCOUNTED = 0xFFFF
"""More segments than the header can count: their number stands in the table of sections."""
WORTHWHILE = 8 * 1024
"""Less is but the table of sections of a file that is stripped already, by which profilers find their way."""


def shorten_all(folder: Path) -> int:
    """How many bytes less the files below it take."""
    return sum(shorten(Path(place, name)) for place, _, names in os.walk(folder) for name in names)


def shorten(path: Path) -> int:
    """How many bytes less the file takes. A link, and a file that has other names too, is left alone."""
    if path.is_symlink() or not path.is_file() or path.stat().st_nlink > 1:
        return 0
    content = path.read_bytes()
    kept = shortened(content)
    if len(kept) < len(content):
        path.write_bytes(kept)
    return len(content) - len(kept)


def shortened(content: bytes) -> bytes:
    """The file up to the end of its last segment, with no word of sections, or as it is where that is little less."""
    end = end_of_segments(content)
    if end is None or len(content) - end < WORTHWHILE:
        return content
    kept = bytearray(content[:end])
    for place, form in _SECTIONS:
        struct.pack_into(form, kept, place, 0)
    return bytes(kept)


def end_of_segments(content: bytes) -> int | None:
    """Nothing, where this is no ELF file of 64 bits, little-endian, or not a whole one."""
    if len(content) < _HEADER.size or not content.startswith(_ELF64_LITTLE_ENDIAN):
        return None
    _, _, _, _, _, table, _, _, _, size, count, _, _, _ = _HEADER.unpack_from(content)
    end_of_table = table + size * count
    if size != _SEGMENT.size or not 0 < count < _UNCOUNTED or end_of_table > len(content):
        return None
    segments = _SEGMENT.iter_unpack(content[table:end_of_table])
    end = max(_HEADER.size, end_of_table, *(offset + length for _, _, offset, _, _, length, _, _ in segments))
    return end if end <= len(content) else None
