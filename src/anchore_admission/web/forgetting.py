"""POST /forget on the operations port: forget what Anchore answered, at the request of a process in the same Pod."""

import ipaddress
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from anchore_admission.errors import NotLocal
from anchore_admission.web.body import header, send_error, send_json

logger = logging.getLogger("anchore_admission.forgetting")

FORGET = "/forget"
_LOOPBACK = frozenset({ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")})
"""Not all of 127.0.0.0/8: Istio's sidecar passes requests from outside of the Pod on from 127.0.0.6."""
_PASSED_ON = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"origin"})
"""Headers of requests that a proxy in the Pod passes on, and of those by a web page (through a port forward)."""

_HOST = re.compile(rb"(?:localhost|\[?(?P<ip>[0-9A-Fa-f.:]{2,45}?)\]?)(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class ForgetEndpoint:
    """An ASGI application for one route. ``forget`` returns the number of answers that it forgot.

    Only the Pod itself may call it. Otherwise, a client could take away the answers that stand in for Anchore during an
    outage, and leave the decision to ``onError``.
    """

    forget: Callable[[], int]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        if not _is_local(scope):
            await send_error(send, NotLocal("only a process in the same Pod may call this path, on 127.0.0.1 or ::1"))
            return
        forgotten = self.forget()
        logger.info("forgot %d answers of Anchore, as requested on the operations port", forgotten)
        await send_json(send, 200, b'{"forgotten":%d}' % forgotten)


def _is_local(scope: Scope) -> bool:
    """Return whether the client is a process in the same network namespace that speaks for itself."""
    client = scope.get("client")
    if client is None or any(name in _PASSED_ON for name, _ in scope["headers"]):
        return False
    # A name that was resolved to this host may be that of a web page; a proxy may keep the one that it was called by.
    host = _HOST.fullmatch(header(scope, b"host"))
    return host is not None and _is_loopback(client[0]) and (not host["ip"] or _is_loopback(host["ip"].decode()))


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # A socket for both protocols shows IPv4 clients as ::ffff:127.0.0.1.
    return (getattr(address, "ipv4_mapped", None) or address) in _LOOPBACK
