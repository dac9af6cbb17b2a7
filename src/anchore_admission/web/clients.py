"""Restrict an exposed webhook port to clients with certain certificates, or to callers that know a secret path."""

import hmac
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission.errors import ConfigurationError, NotServed, Problem
from anchore_admission.files import read_secret_text
from anchore_admission.ports.deadline import Clock
from anchore_admission.redaction import remember
from anchore_admission.settings import spelled
from anchore_admission.text import shortened
from anchore_admission.watched import Watched
from anchore_admission.web.app import VALIDATE
from anchore_admission.web.body import send_error, send_json
from anchore_admission.web.connections import Connection

logger = logging.getLogger("anchore_admission.clients")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{16,253}")
_FORBIDDEN: Final = b'{"message":"this client certificate is not allowed here"}'
_ELSEWHERE: Final = "nothing is served at this path: reviews are answered at a secret path only"
_NAMES_SHOWN = 300
_NAME_TYPES: Final = frozenset({"DNS", "URI"})


class SecretPath:
    """Answer reviews at ``/validate/<secret>`` only; compared in constant time, so it cannot be guessed by parts.

    There may be several secrets while one replaces another: replicas see a mounted Secret change at different times.
    """

    def __init__(self, app: ASGIApp, secrets: Sequence[str]) -> None:
        self._app = app
        self.use(secrets)

    def use(self, secrets: Sequence[str]) -> None:
        """Answer at these paths from now on. Raises ConfigurationError; the paths in use then stay."""
        if not secrets or not all(map(_SEGMENT.fullmatch, secrets)):
            expected = "expected a file with 16 to 253 letters, digits, '-', '.', '_' or '~' in each line"
            raise ConfigurationError("settings", [Problem(spelled("secret_path_file"), expected)])
        self.registered = secrets[0]
        self._paths = [f"{VALIDATE}/{secret}".encode() for secret in secrets]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = str(scope["path"]).encode("utf-8", "surrogateescape")
            if any([hmac.compare_digest(path, own) for own in self._paths]):  # noqa: C419 - all, for constant time
                scope = {**scope, "path": VALIDATE, "raw_path": VALIDATE.encode()}
            elif path.startswith(VALIDATE.encode()):
                # Routers compare less strictly: Starlette's ignores a final \n.
                await send_error(send, NotServed(_ELSEWHERE))
                return
        await self._app(scope, receive, send)


def read_secret_path(file: Path) -> Sequence[str]:
    """Return the secrets of a file, one a line, and keep them out of all logs. Raises ConfigurationError."""
    secrets = read_secret_text(file).splitlines()
    remember("secret path", secrets)
    return secrets


def watched_secret_path(guard: SecretPath, file: Path, *, clock: Clock = time.monotonic) -> Watched[Sequence[str]]:
    """Keep a guard at the path of a mounted file. Raises ConfigurationError if the file is invalid at the start."""
    read = partial(read_secret_path, file)
    watched = Watched("secret path", read, source=str(file), use=guard.use, clock=clock)
    watched.start()
    return watched


@dataclass(frozen=True, slots=True)
class ClientNames:
    """The allowed clients, by a name of their certificate: the common name, or a DNS or URI alternative name."""

    allowed: frozenset[str]

    def protocol(self) -> type[Connection]:
        """Return a protocol that checks the certificate once per connection, so requests cost nothing more."""
        names = self

        class _Checked(Connection):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                certificate = transport.get_extra_info("peercert") or {}
                if not names.allows(certificate):
                    self.app = _reject

        return _Checked

    def allows(self, certificate: Mapping[str, Any]) -> bool:
        """Return whether a certificate (as of ``SSLObject.getpeercert``) carries an allowed name; log it if not."""
        names = list(_names(certificate))
        if self.allowed.isdisjoint(names):
            shown = shortened(", ".join(names) or "no name", _NAMES_SHOWN)
            logger.warning(
                "rejected a client whose certificate is for %s; allow your API server by --client-name",
                shown,
            )
            return False
        return True


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Skip alternative names of other types: a CA may let clients choose an e-mail address, or print an IP address."""
    for relative in certificate.get("subject", ()):
        yield from (value for key, value in relative if key == "commonName")
    yield from (value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAME_TYPES)


async def _reject(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json(send, 403, _FORBIDDEN, close=True)
