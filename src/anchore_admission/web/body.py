"""Reads headers and answers in bytes, straight from and to ASGI."""

from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json
from starlette.types import Scope, Send

from anchore_admission.errors import BodyTimeout, MethodNotAllowed, ReviewError, ReviewTooLarge, UnsupportedMediaType
from anchore_admission.text import shown

_JSON = b"application/json"
_FORM = b"application/x-www-form-urlencoded"
_SHOWN = 100


class Disconnected(Exception):
    """The caller went away before the body was complete."""


def media_type(scope: Scope) -> bytes:
    """The content type without its parameters, lower case; empty when there is none."""
    return header(scope, b"content-type").partition(b";")[0].strip().lower()


def header(scope: Scope, name: bytes) -> bytes:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for key, value in headers:
        if key == name:
            return value
    return b""


def expect_json(scope: Scope) -> None:
    """Raises UnsupportedMediaType."""
    if header(scope, b"content-type") != _JSON and media_type(scope) != _JSON:
        raise UnsupportedMediaType(f"{content_type(scope)}: send it with the header 'Content-Type: application/json'")


def content_type(scope: Scope) -> str:
    """Say in which content type a body came; curl's own is told as such."""
    kind = media_type(scope)
    if not kind:
        return "the body comes without a content type"
    name = shown(kind.decode("latin-1"), _SHOWN)
    return f"the body comes as {name}{', as curl sends it unless told otherwise' if kind == _FORM else ''}"


async def send_json(
    send: Send, status: int, body: bytes, *, close: bool = False, more: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body)), *more]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: ReviewError) -> None:
    """Answer a call that cannot be read, as the Kubernetes API answers its own callers."""
    allowed = ", ".join(error.allowed) if isinstance(error, MethodNotAllowed) else ""
    await send_json(
        send,
        error.status,
        status_document(error),
        close=isinstance(error, ReviewTooLarge | BodyTimeout),
        more=[(b"allow", allowed.encode())] if allowed else (),
    )


def status_document(error: ReviewError) -> bytes:
    """A metav1.Status of failure."""
    document: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": str(error),
        "reason": error.reason,
        "code": error.status,
    }
    return to_json(document)
