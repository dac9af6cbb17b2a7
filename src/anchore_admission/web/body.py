"""Read headers and send responses as bytes, straight from and to ASGI."""

import asyncio
from collections.abc import Iterable
from typing import Final

from pydantic_core import to_json
from starlette.types import Scope, Send

from anchore_admission.errors import BodyTimeout, MethodNotAllowed, ReviewError, ReviewTooLarge, UnsupportedMediaType
from anchore_admission.text import shown

_JSON = b"application/json"
_FORM = b"application/x-www-form-urlencoded"
_SHOWN = 100
_PART: Final = 32 * 1024


class Disconnected(Exception):
    """The client closed the connection before the body was complete."""


def media_type(scope: Scope) -> bytes:
    """Return the content type in lower case and without its parameters; empty if there is none."""
    return header(scope, b"content-type").partition(b";")[0].strip().lower()


def header(scope: Scope, name: bytes) -> bytes:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    # ASGI servers send the names in lower case (ASGI specification, HTTP connection scope).
    for key, value in headers:
        if key == name:
            return value
    return b""


def expect_json(scope: Scope) -> None:
    """Require a JSON body by its content type. Raises UnsupportedMediaType."""
    # API servers send exactly this value: compare it first, and parse others only.
    if header(scope, b"content-type") != _JSON and media_type(scope) != _JSON:
        raise UnsupportedMediaType(f"{content_type(scope)}: send it with the header 'Content-Type: application/json'")


def content_type(scope: Scope) -> str:
    """Name the content type of a body in an error message; mention curl if it is curl's default."""
    kind = media_type(scope)
    if not kind:
        return "the body has no content type"
    name = shown(kind.decode("latin-1"), _SHOWN)
    return f"the body has the content type {name}{', the default of curl' if kind == _FORM else ''}"


async def send_json(
    send: Send, status: int, body: bytes, *, close: bool = False, more: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body)), *more]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_json_in_parts(send: Send, status: int, body: bytes) -> None:
    """Send a large response; each part waits until the client has read most of those before.

    A TLS connection keeps buffers of the size of its largest write until it is closed: idle connections, each with room
    for a whole response, could fill the memory.
    """
    headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    parts = memoryview(body)
    for begin in range(0, len(body), _PART):
        if begin:
            await asyncio.sleep(0)  # the connection passes a part on in a later turn of the event loop
        more = begin + _PART < len(body)
        await send({"type": "http.response.body", "body": bytes(parts[begin : begin + _PART]), "more_body": more})


async def send_error(send: Send, error: ReviewError, *, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a metav1.Status, as the Kubernetes API does to its own callers; ``more`` are further headers."""
    if isinstance(error, MethodNotAllowed):
        more = [*more, (b"allow", error.allowed.encode())]
    document = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": str(error),
        "reason": error.reason,
        "code": error.status,
    }
    # The client may still be sending. Closing the connection stops it; keeping it would mean reading all of it.
    close = isinstance(error, ReviewTooLarge | BodyTimeout)
    await send_json(send, error.status, to_json(document), close=close, more=more)
