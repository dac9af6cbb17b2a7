"""Read mounted files: configuration, certificates, secrets."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from anchore_admission.errors import ConfigurationError, Problem

TEXT_LIMIT: Final = 4 * 1024 * 1024
SECRET_LIMIT: Final = 64 * 1024
_MISSING: Final = "does not exist: create the Secret or ConfigMap that is mounted at {}, with the key {}"
_ATTEMPTS = 3
T = TypeVar("T")
_Fingerprint = tuple[tuple[int, int, int, int], ...]


def read_bytes(path: Path, limit: int = TEXT_LIMIT) -> bytes:
    """Return the contents of a file. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            # One byte too many proves that the file is too large, without reading all of it.
            data = file.read(limit + 1)
    except OSError as error:
        raise _unreadable(path, why_unreadable(path, error)) from error
    if len(data) > limit:
        raise _unreadable(path, f"is larger than {limit} bytes")
    return data


def read_text(path: Path, limit: int = TEXT_LIMIT) -> str:
    """Return the contents of a file without a byte order mark. Raises ConfigurationError."""
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"is not UTF-8 text: byte 0x{error.object[error.start]:02x} in line {line}") from error


def read_secret_text(path: Path) -> str:
    """Return one secret, without the newline that editors and ``echo`` add. Raises ConfigurationError."""
    text = read_text(path, SECRET_LIMIT).rstrip("\r\n")
    if not text:
        raise _unreadable(path, "is empty")
    return text


def read_together(paths: Sequence[Path], read: Callable[[Path], T]) -> list[T]:
    """Read files that belong together, all of the same version.

    The kubelet swaps the files of a Secret at once, but maybe between two reads: a user name must not meet the password
    of another version. Raises ConfigurationError with the problems of all files.
    """
    for _ in range(_ATTEMPTS):
        before = _fingerprint(paths)
        values = _read_each(paths, read)
        if before == _fingerprint(paths):
            return values
    raise ConfigurationError("files", [Problem(str(path), "keeps changing while it is read") for path in paths])


def _read_each(paths: Sequence[Path], read: Callable[[Path], T]) -> list[T]:
    problems: list[Problem] = []
    values: list[T] = []
    for path in paths:
        try:
            values.append(read(path))
        except ConfigurationError as error:
            problems.extend(Problem(error.source, problem.message) for problem in error.problems)
    if problems:
        raise ConfigurationError("files", problems)
    return values


def _fingerprint(paths: Sequence[Path]) -> _Fingerprint | None:
    """Return values that change whenever a file does, with symbolic links followed; None while a file is missing."""
    try:
        return tuple((s.st_ino, s.st_mtime_ns, s.st_ctime_ns, s.st_size) for s in map(os.stat, paths))
    except OSError:
        return None


def is_readable(path: Path) -> bool:
    """Return whether the file can be read, or may still appear in a mounted volume; its contents do not matter."""
    return (path.is_file() and os.access(path, os.R_OK)) or _mount_lacks(path)


def why_unreadable(path: Path, error: OSError) -> str:
    """Return why a file cannot be read, with the remedy if a mounted volume lacks it."""
    if _mount_lacks(path):
        return _MISSING.format(path.parent, path.name)
    return f"cannot be read: {error.strerror or error}"


def _mount_lacks(path: Path) -> bool:
    """Return whether a volume is mounted in which this file may still appear, as in one of an optional Secret."""
    return path.parent.is_mount() and path.parent != Path(path.anchor) and not path.exists()


def _unreadable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(str(path), [Problem("", why)])
