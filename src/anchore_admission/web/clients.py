"""Who may ask on an exposed webhook port: clients with a certificate of certain names, callers of a secret path."""

import hmac
import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission.adapters.files import read_secret_text
from anchore_admission.adapters.redaction import remember
from anchore_admission.errors import ConfigurationError, NotServed, Problem
from anchore_admission.ports.deadline import Clock
from anchore_admission.settings import spelled
from anchore_admission.text import shortened
from anchore_admission.throttled import Throttled
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
    """Answers reviews at ``/validate/<secret>`` only; compared in constant time: it cannot be guessed by parts."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self.use(secret)

    def use(self, secret: str) -> None:
        """Answer at this path from now on. Raises ConfigurationError; the path in use then stays."""
        if not _SEGMENT.fullmatch(secret):
            expected = "expected a file with 16 to 253 letters, digits, '-', '.', '_' or '~'"
            raise ConfigurationError("settings", [Problem(spelled("secret_path_file"), expected)])
        self._path = f"{VALIDATE}/{secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = str(scope["path"]).encode("utf-8", "surrogateescape")
            if hmac.compare_digest(path, self._path):
                scope = {**scope, "path": VALIDATE, "raw_path": VALIDATE.encode()}
            elif path.startswith(
                VALIDATE.encode()
            ):  # routers compare less strictly: to Starlette, a final \n is nothing
                await send_error(send, NotServed(_ELSEWHERE))
                return
        await self._app(scope, receive, send)


class SecretPathFile:
    """The mounted file of a secret path. Once its contents were valid, the last valid ones stay in use."""

    def __init__(self, guard: SecretPath, path: Path, *, clock: Clock = time.monotonic) -> None:
        self._guard = guard
        self._path = path
        self._secret = read_secret_text(path)
        self._warnings = Throttled(logger, clock)
        self._unusable = False

    def is_unusable(self) -> bool:
        """Return whether the contents of the last look cannot be used."""
        return self._unusable

    def refresh(self) -> None:
        """Read the file again."""
        try:
            secret = read_secret_text(self._path)
            if secret != self._secret:
                remember("secret path", [secret])
                self._guard.use(secret)
                self._secret = secret
                logger.info("the secret path changed: %s", self._path)
        except ConfigurationError as error:
            self._unusable = True
            why = "; ".join(map(str, error.problems))
            self._warnings.warn("", f"the last valid secret path stays in use: {why}", logging.ERROR)
        else:
            self._unusable = False
            self._warnings.clear("")


@dataclass(frozen=True, slots=True)
class ClientNames:
    """The names of which a client's certificate must carry one: its common name, or a DNS or URI alternative name."""

    allowed: frozenset[str]

    def protocol(self) -> type[Connection]:
        """Looks at the certificate once per connection: requests cost nothing more."""
        names = self

        class _Checked(Connection):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                certificate = transport.get_extra_info("peercert") or {}
                if not names.allows(certificate):
                    self.app = _refuse

        return _Checked

    def allows(self, certificate: Mapping[str, Any]) -> bool:
        """Whether a certificate, as ``SSLObject.getpeercert`` shows it, carries an allowed name; logged if not."""
        names = list(_names(certificate))
        if self.allowed.isdisjoint(names):
            shown = shortened(", ".join(names) or "no name", _NAMES_SHOWN)
            logger.warning("refused a client whose certificate is for %s", shown)
            return False
        return True


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Alternative names of other types do not count: a CA may let clients choose an e-mail address, or print an IP."""
    for relative in certificate.get("subject", ()):
        yield from (value for key, value in relative if key == "commonName")
    yield from (value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAME_TYPES)


async def _refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json(send, 403, _FORBIDDEN, close=True)
