"""Restrict an exposed webhook port to callers that know a secret path: any other path under a webhook's is a 404."""

import hmac
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission.errors import ConfigurationError, NotServed, Problem
from anchore_admission.files import read_secret_text
from anchore_admission.ports.deadline import Clock
from anchore_admission.redaction import remember
from anchore_admission.settings import spelled
from anchore_admission.watched import Watched
from anchore_admission.web.app import MUTATE, VALIDATE
from anchore_admission.web.body import send_error

_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{16,253}")
_GUARDED: Final = (VALIDATE, MUTATE)
_PREFIXES: Final = tuple(plain.encode() for plain in _GUARDED)
_ELSEWHERE: Final = "path not found; this port serves reviews at a secret path only"


class SecretPath:
    """Serve the webhooks at ``/validate/<secret>`` and ``/mutate/<secret>`` only.

    Paths are compared in constant time, so that the secret cannot be guessed bit by bit.

    There may be several secrets while one replaces another: replicas see a mounted Secret change at different times.
    """

    def __init__(self, app: ASGIApp, secrets: Sequence[str]) -> None:
        self._app = app
        self.use(secrets)

    def use(self, secrets: Sequence[str]) -> None:
        """Serve at these paths from now on. Raises ConfigurationError; the paths in use then stay."""
        expect_secrets(secrets, "secret_path_file")
        # API servers are told the first one only; the others stay served while one replaces another.
        self.registered = secrets[0]
        self._paths = [(f"{plain}/{secret}".encode(), plain) for plain in _GUARDED for secret in secrets]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = str(scope["path"]).encode("utf-8", "surrogateescape")
            # All of them, for constant time.
            if served := [plain for own, plain in self._paths if hmac.compare_digest(path, own)]:
                # The application sees the plain path only, so its messages cannot repeat the secret.
                scope = {**scope, "path": served[0], "raw_path": served[0].encode()}
            elif path.startswith(_PREFIXES):
                await send_error(send, NotServed(_ELSEWHERE))
                return
        await self._app(scope, receive, send)


def expect_secrets(secrets: Sequence[str], setting: str) -> None:
    """Require secrets that are long enough and need no escapes in a path. Raises ConfigurationError."""
    if not secrets or not all(map(_SEGMENT.fullmatch, secrets)):
        expected = "expected a file with 16 to 253 letters, digits, '-', '.', '_' or '~' in each line"
        raise ConfigurationError("settings", [Problem(spelled(setting), expected)])


def read_secrets(file: Path, name: str) -> Sequence[str]:
    """Return the secrets of a file, one a line, and keep them out of all logs. Raises ConfigurationError."""
    secrets = read_secret_text(file).splitlines()
    remember(name, secrets)
    return secrets


def read_secret_path(file: Path) -> Sequence[str]:
    """Return the secrets of the path, of which the first is registered. Raises ConfigurationError."""
    return read_secrets(file, "secret path")


def watched_secret_path(guard: SecretPath, file: Path, *, clock: Clock = time.monotonic) -> Watched[Sequence[str]]:
    """Update a guard from a mounted file. Raises ConfigurationError if the file is invalid at the start."""
    read = partial(read_secret_path, file)
    watched = Watched("secret path", read, source=str(file), use=guard.use, clock=clock)
    watched.start()
    return watched
