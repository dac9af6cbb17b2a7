"""Reads a request's body within its bounds, straight from ASGI, and answers in bytes."""

from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from anchore_admission.errors import ReviewError, ReviewTooLarge, UnsupportedMediaType

DRAINED = 32 * 1024 * 1024
"""Bytes that are read and thrown away, so that the caller can read the refusal before it stops sending."""
_JSON = b"application/json"


class Disconnected(Exception):
    """The caller went away before the body was complete."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises ReviewTooLarge beyond ``limit`` bytes, Disconnected."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body", False) or size > limit + DRAINED:
            break
    if size > limit:
        raise ReviewTooLarge(f"the body is larger than {limit} bytes")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


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
        raise UnsupportedMediaType("the content type must be application/json")


async def send_json(send: Send, status: int, body: bytes, *, close: bool = False) -> None:
    headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body))]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: ReviewError) -> None:
    """Answer a call that cannot be read, as the Kubernetes API answers its own callers."""
    await send_json(send, error.status, status_document(error), close=isinstance(error, ReviewTooLarge))


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
