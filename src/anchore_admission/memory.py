"""The memory limit of the container, and settings of the allocator."""

import ctypes
from pathlib import Path
from typing import Final

_FILES: Final = (
    Path("/sys/fs/cgroup/memory.max"),  # cgroup v2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # cgroup v1
)
_NO_LIMIT: Final = 2**50
"""cgroup v1 reports a number of about this size if there is no limit."""
OWN_BYTES: Final = 160 * 1024 * 1024
"""Memory of the process itself, its connections and /tmp, which is in memory: measured under load."""
LEAST_BYTES: Final = 8 * 1024 * 1024
# M_MMAP_THRESHOLD and M_ARENA_MAX in glibc's malloc.h.
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_LARGE_BLOCK: Final = 128 * 1024


def memory_limit(files: tuple[Path, ...] = _FILES) -> int | None:
    """Return the container's limit in bytes; None if there is none or it cannot be read."""
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdecimal() and int(text) < _NO_LIMIT:
            return int(text)
    return None


def return_large_blocks() -> bool:
    """Make glibc return every large block to the system when it is freed; return whether it accepted the settings.

    By default, glibc takes later blocks of the size of a freed one (up to 32 MiB) from the heap, which it can return
    only from the top: a replica that has read large reviews would stay large. Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    # By default, glibc makes up to eight arenas per core, and each keeps freed memory of its own (mallopt(3)).
    return all([mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK), mallopt(_ARENA_MAX, 2)])


def room_for_bodies(limit: int) -> int:
    """Return how many bytes of requests may be held at once under a memory limit.

    This is half of the memory that the process itself leaves: decoding and Anchore's responses need the rest.
    """
    return max((limit - OWN_BYTES) // 2, LEAST_BYTES)
