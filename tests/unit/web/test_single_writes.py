"""The head and the body of a response are one write, whatever uvicorn writes around them."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from anchore_admission.web.body import send_json, send_json_in_parts
from anchore_admission.web.single_writes import SingleWrites

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PART = 32 * 1024
LARGE = b"x" * (PART + 1)


class Written(asyncio.Transport):
    """A transport that remembers its writes and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def resume_reading(self) -> None:
        pass


async def whole(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json(send, 200, b"{}")


async def empty(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json(send, 200, b"")


async def after_reading(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send_json(send, 200, b"{}")


async def in_parts(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json_in_parts(send, 200, LARGE)


async def broken(_scope: Scope, _receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    raise ValueError("no body")


async def run(app: ASGIApp, transport: Written, *, expects: bool = False) -> None:
    logger, heard = logging.getLogger("test"), asyncio.Event()
    heard.set()
    done: Callable[[], None] = lambda: None  # noqa: E731 - what uvicorn calls at the end
    cycle = RequestResponseCycle(
        scope={"type": "http", "method": "POST"},  # type: ignore[typeddict-item]
        transport=transport,
        flow=FlowControl(transport),
        logger=logger,
        access_logger=logger,
        access_log=False,
        default_headers=[],
        message_event=heard,
        expect_100_continue=expects,
        keep_alive=True,
        on_response=done,
    )
    cycle.transport = SingleWrites(transport, cycle)
    await cycle.run_asgi(app)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("app", "expects", "writes", "is_closed"),
    [
        (whole, False, [HEAD % 2 + b"{}"], False),
        (empty, False, [HEAD % 0], False),
        (after_reading, True, [CONTINUE, HEAD % 2 + b"{}"], False),
        (in_parts, False, [HEAD % len(LARGE) + LARGE[:PART], LARGE[PART:]], False),
        (broken, False, [HEAD % 2], True),
    ],
)
async def test_the_head_is_written_with_the_body(
    app: ASGIApp, expects: bool, writes: list[bytes], is_closed: bool
) -> None:
    transport = Written()
    await run(app, transport, expects=expects)
    assert (transport.writes, transport.is_closed) == (writes, is_closed)
