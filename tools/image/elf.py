# ruff: noqa: INP001 - beside the script that imports it
"""Strip ELF files: cut off symbols and debugging information, which follow the file's last segment.

Running programs and the dynamic linker use the program headers only; the section table, and the parts that only it
refers to, serve linkers and debuggers. The slim base images have no ``strip``.
"""

import os
import struct
from pathlib import Path

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01\x01"
_SECTIONS = ((40, "<Q"), (60, "<H"), (62, "<H"))
"""Offsets in the header: the section table's place, its length, and the index of the section with the names."""
_UNCOUNTED = 0xFFFF
"""Marks more segments than the header can count; their number is in the section table."""
WORTHWHILE = 8 * 1024
"""Bytes. A smaller rest is the section table of a file that is stripped already; profilers use it, so keep it."""


def strip_all(folder: Path) -> int:
    """Strip every file below a folder and return the number of bytes saved."""
    return sum(strip(Path(place, name)) for place, _, names in os.walk(folder) for name in names)


def strip(path: Path) -> int:
    """Strip a file and return the number of bytes saved. Links and files with several names stay as they are."""
    if path.is_symlink() or not path.is_file() or path.stat().st_nlink > 1:
        return 0
    content = path.read_bytes()
    kept = stripped(content)
    if len(kept) < len(content):
        path.write_bytes(kept)
    return len(content) - len(kept)


def stripped(content: bytes) -> bytes:
    """Return the file up to the end of its last segment without a section table, or unchanged if that saves little."""
    end = end_of_segments(content)
    if end is None or len(content) - end < WORTHWHILE:
        return content
    kept = bytearray(content[:end])
    for place, form in _SECTIONS:
        struct.pack_into(form, kept, place, 0)
    return bytes(kept)


def end_of_segments(content: bytes) -> int | None:
    """Return the offset at which the last segment ends; None unless a complete 64-bit little-endian ELF."""
    if len(content) < _HEADER.size or not content.startswith(_ELF64_LITTLE_ENDIAN):
        return None
    _, _, _, _, _, table, _, _, _, size, count, _, _, _ = _HEADER.unpack_from(content)
    end_of_table = table + size * count
    if size != _SEGMENT.size or not 0 < count < _UNCOUNTED or end_of_table > len(content):
        return None
    segments = _SEGMENT.iter_unpack(content[table:end_of_table])
    end = max(_HEADER.size, end_of_table, *(offset + length for _, _, offset, _, _, length, _, _ in segments))
    return end if end <= len(content) else None
