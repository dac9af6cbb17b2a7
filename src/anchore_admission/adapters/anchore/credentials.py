"""Credentials for Anchore: a user or an API key, fixed or from mounted files."""

import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pydantic import SecretStr

from anchore_admission.errors import AnchoreRefused, ConfigurationError, Problem
from anchore_admission.files import is_readable, read_secret_text, read_together
from anchore_admission.ports.deadline import Clock
from anchore_admission.watched import Watched

REFRESH_SECONDS: Final = 1.0
"""Seconds between two reads of credential files. After a rotation in Anchore, calls fail until the next read."""
_NONE_YET = "there are no credentials for Anchore yet"
_API_KEY_USER = "_api_key"  # every API key of Anchore Enterprise has this user name


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and its password. Fixed credentials are their own source."""

    username: str
    password: SecretStr

    @classmethod
    def api_key(cls, key: SecretStr) -> "Credentials":
        return cls(_API_KEY_USER, key)

    def current(self) -> "Credentials":
        return self

    def authorization(self) -> str:
        """Return the value of the Authorization header."""
        # RFC 7617 leaves the encoding open; UTF-8 is the only one that it lets a server name (section 2.1).
        pair = f"{self.username}:{self.password.get_secret_value()}"
        return f"Basic {b64encode(pair.encode()).decode()}"


class CredentialSource(Protocol):
    """Credentials that may change while the process runs, because mounted secrets rotate."""

    def current(self) -> Credentials:
        """Return the credentials for the next call, without I/O; the same object as long as nothing changed.

        Raises an EvaluationError while there are none.
        """


class FileCredentials:
    """A ``CredentialSource`` over mounted files.

    Raises ConfigurationError if a file is invalid at the start. With ``wait_until_valid``, only an unreadable path is
    an error (a configuration mistake): invalid contents, or a key that a mounted Secret does not hold yet, may still be
    corrected, so the source starts without credentials and keeps checking.
    """

    def __init__(
        self,
        build: Callable[..., Credentials],
        *paths: Path,
        clock: Clock = time.monotonic,
        wait_until_valid: bool = False,
    ) -> None:
        self.watched = Watched(
            "credentials",
            lambda: build(*read_together(paths, read_secret_text)),
            source=", ".join(map(str, paths)),
            every=REFRESH_SECONDS,
            clock=clock,
        )
        self.watched.start(wait_until_valid=wait_until_valid and all(map(is_readable, paths)))

    @classmethod
    def user(
        cls, username: Path, password: Path, clock: Clock = time.monotonic, *, wait_until_valid: bool = False
    ) -> "FileCredentials":
        """Follow the files of a user name and its password."""
        build = partial(_user, username)
        return cls(build, username, password, clock=clock, wait_until_valid=wait_until_valid)

    @classmethod
    def api_key(cls, key: Path, clock: Clock = time.monotonic, *, wait_until_valid: bool = False) -> "FileCredentials":
        """Follow the file of an API key."""
        return cls(_api_key, key, clock=clock, wait_until_valid=wait_until_valid)

    def current(self) -> Credentials:
        """Return the last valid credentials; reads no file. Raises AnchoreRefused while there are none."""
        if self.watched.value is None:
            raise AnchoreRefused(_NONE_YET)
        return self.watched.value


def _user(file: Path, name: str, password: str) -> Credentials:
    # RFC 7617, section 2: the first colon ends the user name.
    if ":" in name:
        colon = Problem(str(file), "holds a colon, which ends the name in Basic credentials")
        raise ConfigurationError("credentials", [colon])
    return Credentials(name, SecretStr(password))


def _api_key(key: str) -> Credentials:
    return Credentials.api_key(SecretStr(key))
