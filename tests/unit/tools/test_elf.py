"""tools/image/elf.py strips programs and libraries, and leaves every other file alone."""

import ctypes
import importlib.util
import struct
from pathlib import Path
from types import ModuleType

import pytest
import uvloop.loop

from support.paths import ROOT

LIBRARY = Path(uvloop.loop.__file__)


def _tool() -> ModuleType:
    file = ROOT / "tools" / "image" / "elf.py"
    spec = importlib.util.spec_from_file_location("image_elf", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


elf = _tool()
BEHIND = b"\0" * elf.WORTHWHILE


def file(
    *segments: tuple[int, int], kind: int = 2, order: int = 1, place: int = 64, count: int | None = None, size: int = 56
) -> bytes:
    """Build an ELF header with a section table, and a header for each segment (offset and length in the file)."""
    identity = b"\x7fELF" + bytes([kind, order, 1]) + bytes(9)
    number = len(segments) if count is None else count
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 3, 62, 1, 0, place, 5000, 0, 64, size, number, 64, 9, 8)
    return header + b"".join(struct.pack("<IIQQQQQQ", 1, 5, at, 0, 0, length, 9999, 1) for at, length in segments)


@pytest.mark.parametrize("segments", [((0, 500),), ((0, 100), (400, 100)), ((400, 100), (0, 0), (0, 100))])
def test_bytes_after_the_last_segment_and_the_section_table_are_removed(segments: tuple[tuple[int, int], ...]) -> None:
    whole = file(*segments).ljust(500, b"x")
    kept = elf.stripped(whole + BEHIND)
    assert len(kept) == 500
    assert [kept[40:48], kept[60:64]] == [bytes(8), bytes(4)]
    assert [kept[:40], kept[48:60], kept[64:]] == [whole[:40], whole[48:60], whole[64:]]
    assert elf.stripped(kept) == kept


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh\n",
        file((0, 120))[:63],
        file((0, 120)) + BEHIND[1:],
        file((0, 120), kind=1) + BEHIND,
        file((0, 120), order=2) + BEHIND,
        file((0, 120), size=32) + BEHIND,
        file((0, 120), place=2**40) + BEHIND,
        file((0, 120), count=0) + BEHIND,
        file((0, 120), count=0xFFFF) + BEHIND * 1000,
        file((0, 2**20)) + BEHIND,
        file((2**63, 2**63)) + BEHIND,
    ],
    ids=[
        *("empty", "script", "header cut off", "stripped", "32 bits", "big-endian", "other segments"),
        *("segments elsewhere", "no segments", "too many segments", "segment cut off", "segment out of reach"),
    ],
)
def test_anything_else_stays_as_it_is(content: bytes) -> None:
    assert elf.stripped(content) == content


def test_files_below_a_folder_are_stripped_but_for_links(tmp_path: Path) -> None:
    content = file((0, 120)) + BEHIND
    folder = tmp_path / "root" / "lib"
    folder.mkdir(parents=True)
    for path in (tmp_path / "outside", folder / "own", folder / "linked"):
        path.write_bytes(content)
        path.chmod(0o755)
    (folder / "pointer").symlink_to(tmp_path / "outside")
    (folder / "other-name").hardlink_to(folder / "linked")
    assert elf.strip_all(tmp_path / "root") == len(BEHIND)
    assert {path.name for path in folder.iterdir() if len(path.read_bytes()) == 120} == {"own"}
    assert (folder / "own").stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(elf.end_of_segments(LIBRARY.read_bytes()) is None, reason="not an ELF machine of 64 bits")
def test_a_library_can_still_be_loaded(tmp_path: Path) -> None:
    copy = tmp_path / LIBRARY.name
    copy.write_bytes(LIBRARY.read_bytes() + BEHIND)
    assert elf.strip(copy) >= len(BEHIND)
    assert hasattr(ctypes.CDLL(str(copy)), "PyInit_loop")
