"""Restrict an exposed webhook port to clients whose certificates have certain names."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission.text import shortened
from anchore_admission.web.body import send_json
from anchore_admission.web.connections import Connection

logger = logging.getLogger("anchore_admission.clients")
_FORBIDDEN: Final = b'{"message":"this client certificate is not allowed here"}'
_NAMES_SHOWN = 300
_NAME_TYPES: Final = frozenset({"DNS", "URI"})


class Clients(Protocol):
    """The clients of a port, told apart by their certificates."""

    def protocol(self) -> type[Connection]:
        """Return a protocol that checks the certificate once per connection, so requests cost nothing more."""


@dataclass(frozen=True, slots=True)
class ClientNames:
    """The allowed clients, by a name of their certificate: the common name, or a DNS or URI alternative name."""

    allowed: frozenset[str]

    def protocol(self) -> type[Connection]:
        """Return a protocol that checks the certificate once per connection, so requests cost nothing more."""
        return checked_by(lambda certificate, app: app if self.allows(certificate) else _reject)

    def allows(self, certificate: Mapping[str, Any]) -> bool:
        """Return whether a certificate (as of ``SSLObject.getpeercert``) carries an allowed name; log it if not."""
        names = list(names_in(certificate))
        if self.allowed.isdisjoint(names):
            logger.warning(
                "rejected a client whose certificate is for %s; allow your API server by --client-name",
                listed_names(names),
            )
            return False
        return True


def checked_by(choose: Callable[[Mapping[str, Any], ASGIApp], ASGIApp]) -> type[Connection]:
    """Return a protocol whose connections serve what ``choose`` returns for the certificate and the port's own app.

    The certificate is empty unless the handshake has verified one (``SSLSocket.getpeercert``).
    """

    class _Checked(Connection):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.app = choose(transport.get_extra_info("peercert") or {}, self.app)

    return _Checked


def listed_names(names: Sequence[str]) -> str:
    """List the names of a certificate for a log line."""
    return shortened(", ".join(names) or "no name", _NAMES_SHOWN)


def names_in(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a certificate.

    Alternative names of other types do not count: a CA may let clients choose an e-mail address, or print an IP
    address.
    """
    for relative in certificate.get("subject", ()):
        yield from (value for key, value in relative if key == "commonName")
    yield from (value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAME_TYPES)


async def _reject(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json(send, 403, _FORBIDDEN, close=True)
