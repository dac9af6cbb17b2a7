"""Files that operators mount: the configuration's text, and credentials that rotate while we run."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from anchore_admission.adapters.anchore.credentials import Credentials
from anchore_admission.errors import AnchoreRefused, ConfigurationError, Problem
from anchore_admission.ports.deadline import Clock

TEXT_LIMIT: Final = 4 * 1024 * 1024
SECRET_LIMIT: Final = 64 * 1024
CHECK_EVERY: Final = 1.0
"""Seconds between two looks at the files; the kubelet itself takes up to a minute to bring a change."""
AGAIN_SECONDS: Final = 300.0
"""After which files that are still no good are told again."""

logger = logging.getLogger("anchore_admission.files")
_MISSING: Final = "does not exist: create the Secret or ConfigMap that is mounted at {}, with the key {}"
_NONE_YET = "there are no credentials for Anchore yet"
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
        raise _unreadable(path, why_unreadable(path, error)) from error


class FileCredentials:
    """A ``CredentialSource`` over mounted files. Once they were good, the last good ones stay in use.

    Raises ConfigurationError when a file is invalid at the start. With ``wait_until_valid``, only an unreadable path is
    an error (a configuration mistake): invalid contents, or a key that a mounted Secret does not hold yet, may still be
    corrected, so the source starts without credentials and keeps checking.
    """

    def __init__(
        self, build: _Build, *paths: Path, clock: Clock = time.monotonic, wait_until_valid: bool = False
    ) -> None:
        self._build = build
        self._paths = paths
        self._clock = clock
        self._complaint = ""
        self._told_at = 0.0
        self._credentials: Credentials | None = None
        self._fingerprint: _Fingerprint | None = self._look()
        try:
            self._credentials = self._read()
        except ConfigurationError as error:
            if not wait_until_valid or not all(map(is_readable, paths)):
                raise
            self._complain(error)
        self._next_look = clock() + CHECK_EVERY

    @classmethod
    def user(
        cls, username: Path, password: Path, clock: Clock = time.monotonic, *, wait_until_valid: bool = False
    ) -> "FileCredentials":
        def build(user: str, secret: str) -> Credentials:
            if ":" in user:
                colon = Problem(str(username), "holds a colon, which ends the name in Basic credentials")
                raise ConfigurationError("credentials", [colon])
            return Credentials(user, SecretStr(secret))

        return cls(build, username, password, clock=clock, wait_until_valid=wait_until_valid)

    @classmethod
    def api_key(cls, key: Path, clock: Clock = time.monotonic, *, wait_until_valid: bool = False) -> "FileCredentials":
        return cls(
            lambda secret: Credentials.api_key(SecretStr(secret)), key, clock=clock, wait_until_valid=wait_until_valid
        )

    def current(self) -> Credentials:
        self.refresh()
        if self._credentials is None:
            raise AnchoreRefused(_NONE_YET)
        return self._credentials

    def refresh(self) -> None:
        """Look at the files again if it is time. What is not good is told now and then."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + CHECK_EVERY
            self._follow()

    def is_there(self) -> bool:
        """Whether there are credentials to ask with."""
        return self._credentials is not None

    def is_unusable(self) -> bool:
        """Whether what the files held at the last look cannot be used."""
        return bool(self._complaint)

    def _follow(self) -> None:
        before = self._look()
        if before is not None and before == self._fingerprint:
            return
        try:
            credentials = self._read()
        except ConfigurationError as error:
            self._complain(error)
            return
        # A Secret is swapped whole, but not between our two reads: a user name must not meet another's password.
        if before is None or before != self._look():
            return
        self._fingerprint = before
        self._complaint = ""
        if credentials != self._credentials:
            what = "changed" if self._credentials else "in use"
            self._credentials = credentials
            logger.info("credentials %s: %s", what, ", ".join(map(str, self._paths)))

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

    def _complain(self, error: ConfigurationError) -> None:
        self._fingerprint = None
        why = "; ".join(map(str, error.problems))
        if why == self._complaint and self._clock() - self._told_at < AGAIN_SECONDS:
            return
        self._complaint, self._told_at = why, self._clock()
        meanwhile = "the last good credentials stay in use" if self._credentials else "not ready until this is mended"
        logger.error("%s: %s", meanwhile, why)


def is_readable(path: Path) -> bool:
    """Return whether the file may be read, whatever it holds, or a mounted volume may still bring it."""
    return (path.is_file() and os.access(path, os.R_OK)) or _mount_lacks(path)


def why_unreadable(path: Path, error: OSError) -> str:
    """Return why a file cannot be read, with the remedy where a mounted volume lacks it."""
    if _mount_lacks(path):
        return _MISSING.format(path.parent, path.name)
    return f"cannot be read: {error.strerror or error}"


def _mount_lacks(path: Path) -> bool:
    """Return whether a volume is mounted in which this file may still appear, as in one of an optional Secret."""
    return path.parent.is_mount() and path.parent != Path(path.anchor) and not path.exists()


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
