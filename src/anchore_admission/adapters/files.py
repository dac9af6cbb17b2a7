"""Files that operators mount: the configuration's text, and credentials that rotate while we run."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from anchore_admission.adapters.anchore.credentials import Credentials
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.ports import Clock

TEXT_LIMIT: Final = 4 * 1024 * 1024
SECRET_LIMIT: Final = 64 * 1024
CHECK_EVERY: Final = 1.0
"""Seconds between two looks at the files; the kubelet itself takes up to a minute to bring a change."""

_log = logging.getLogger("anchore_admission.files")
_Build = Callable[..., Credentials]
_Fingerprint = tuple[tuple[int, int, int, int], ...]


def read_text(path: Path, limit: int = TEXT_LIMIT) -> str:
    """The whole file, without a byte order mark. Raises ConfigurationError."""
    try:
        data = _read(path, limit)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"is not UTF-8 text: byte 0x{error.object[error.start]:02x} in line {line}") from error
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror or error}") from error


class FileCredentials:
    """A ``CredentialSource`` over mounted files. Once they were good, the last good ones stay in use.

    Raises ConfigurationError when they are not good at the start.
    """

    def __init__(self, build: _Build, *paths: Path, clock: Clock = time.monotonic) -> None:
        self._build = build
        self._paths = paths
        self._clock = clock
        self._complaint = ""
        self._fingerprint: _Fingerprint | None = self._look()
        self._credentials = self._read()
        self._next_look = clock() + CHECK_EVERY

    @classmethod
    def user(cls, username: Path, password: Path, clock: Clock = time.monotonic) -> "FileCredentials":
        return cls(lambda user, secret: Credentials(user, SecretStr(secret)), username, password, clock=clock)

    @classmethod
    def api_key(cls, key: Path, clock: Clock = time.monotonic) -> "FileCredentials":
        return cls(lambda secret: Credentials.api_key(SecretStr(secret)), key, clock=clock)

    def current(self) -> Credentials:
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + CHECK_EVERY
            self._refresh()
        return self._credentials

    def _refresh(self) -> None:
        before = self._look()
        if before is not None and before == self._fingerprint:
            return
        try:
            credentials = self._read()
        except ConfigurationError as error:
            self._complain("; ".join(map(str, error.problems)))
            return
        # A Secret is swapped whole, but not between our two reads: a user name must not meet another's password.
        if before is None or before != self._look():
            return
        self._fingerprint = before
        self._complaint = ""
        if credentials != self._credentials:
            self._credentials = credentials
            _log.info("credentials changed: %s", self._names())

    def _read(self) -> Credentials:
        problems: list[Problem] = []
        texts: list[str] = []
        for path in self._paths:
            try:
                texts.append(read_secret_text(path))
            except ConfigurationError as error:
                problems.extend(Problem(error.source, problem.message) for problem in error.problems)
        if problems:
            raise ConfigurationError("credentials", problems)
        return self._build(*texts)

    def _look(self) -> _Fingerprint | None:
        """What changes when a file does, behind every symbolic link; None where a file is missing."""
        try:
            return tuple((s.st_ino, s.st_mtime_ns, s.st_ctime_ns, s.st_size) for s in map(os.stat, self._paths))
        except OSError:
            return None

    def _complain(self, why: str) -> None:
        self._fingerprint = None
        if why != self._complaint:
            self._complaint = why
            _log.error("the last good credentials stay in use: %s", why)

    def _names(self) -> str:
        return ", ".join(map(str, self._paths))


def read_secret_text(path: Path) -> str:
    """One secret; editors and ``echo`` end it with a newline that does not belong to it."""
    text = read_text(path, SECRET_LIMIT).rstrip("\r\n")
    if not text:
        raise _unreadable(path, "is empty")
    return text


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise _unreadable(path, f"is larger than {limit} bytes")
    return data


def _unreadable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(str(path), [Problem("", why)])
