"""Restrict an exposed webhook port to clients whose certificates have certain names."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from anchore_admission.text import shortened
from anchore_admission.web.body import send_json
from anchore_admission.web.connections import Connection

logger = logging.getLogger("anchore_admission.clients")
_FORBIDDEN: Final = b'{"message":"this client certificate is not allowed here"}'
_NAMES_SHOWN = 300
_NAME_TYPES: Final = frozenset({"DNS", "URI"})


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
                # Empty unless the handshake has verified the certificate (``SSLSocket.getpeercert``).
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
