"""What strangers can do with connections, and what they cannot keep others from."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine

import httpx
import pytest
import uvloop

from anchore_admission.web import connections, server
from anchore_admission.web.server import Listener
from contract.test_server import Slow
from support.listening import HOST, Running, quick, running

LIMIT = 4
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", LIMIT)


@contextlib.asynccontextmanager
async def opened(to: Running) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, to.ports[0])
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What was still said before the other side closed."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


async def test_connections_that_bring_nothing_keep_nobody_from_being_answered() -> None:
    async with contextlib.AsyncExitStack() as stack:
        running_server = await stack.enter_async_context(running(Listener(quick, HOST, 0)))
        idle = [await stack.enter_async_context(opened(running_server)) for _ in range(3 * LIMIT)]
        async with httpx.AsyncClient() as client:
            for _ in range(3):
                assert (await client.get(running_server.url())).text == "ok"
        assert await ended(idle[0][0]) == b""


async def test_who_was_idle_longest_makes_room() -> None:
    async with contextlib.AsyncExitStack() as stack:
        running_server = await stack.enter_async_context(running(Listener(quick, HOST, 0)))
        first, second = [await stack.enter_async_context(opened(running_server)) for _ in range(2)]
        for reader, writer in (second, first):  # the first has just been of use
            writer.write(REQUEST)
            await reader.readuntil(b"ok")
        for _ in range(LIMIT - 2):
            reader, writer = await stack.enter_async_context(opened(running_server))
            writer.write(REQUEST)
            await reader.readuntil(b"ok")
        assert await ended(second[0]) == b""
        first[1].write(REQUEST)
        await first[0].readuntil(b"ok")


Run = Callable[[Coroutine[None, None, None]], None]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_newcomers_are_answered_where_every_connection_is_taken(run: Run) -> None:
    """From a thread: the loop then finds a newcomer and its request in one go."""
    taken: list[socket.socket] = []

    def ask(port: int) -> bytes:
        for _ in range(100):
            taken.append(socket.create_connection((HOST, port)))
            taken[-1].sendall(REQUEST)
            if not (said := taken[-1].recv(1000)).startswith(b"HTTP/1.1 200"):
                return said
        return b""

    async def serving() -> None:
        async with running(Listener(quick, HOST, 0)) as server:
            assert await asyncio.to_thread(ask, server.ports[0]) == b""

    try:
        run(serving())
    finally:
        for connection in taken:
            connection.close()


async def test_a_request_under_way_is_never_given_up_for_a_newcomer() -> None:
    slow = Slow()
    async with contextlib.AsyncExitStack() as stack:
        running_server = await stack.enter_async_context(running(Listener(slow, HOST, 0)))
        reader, writer = await stack.enter_async_context(opened(running_server))
        writer.write(REQUEST)
        await slow.asked.wait()
        for _ in range(2 * LIMIT):
            await stack.enter_async_context(opened(running_server))
        slow.let_go.set()
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_where_every_connection_is_busy_more_requests_are_refused() -> None:
    slow = Slow()
    async with contextlib.AsyncExitStack() as stack:
        running_server = await stack.enter_async_context(running(Listener(slow, HOST, 0)))
        for _ in range(LIMIT - 1):
            slow.asked.clear()
            _, writer = await stack.enter_async_context(opened(running_server))
            writer.write(REQUEST)
            await slow.asked.wait()
        async with httpx.AsyncClient() as client:
            assert (await client.get(running_server.url())).status_code == 503
        slow.let_go.set()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_request_that_does_not_come_to_its_end_is_not_waited_for(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.02)
    async with running(Listener(quick, HOST, 0)) as running_server, opened(running_server) as (reader, writer):
        writer.write(sent)
        assert await ended(reader) == b""


async def test_nor_is_one_that_follows_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.02)
    async with running(Listener(quick, HOST, 0)) as running_server, opened(running_server) as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"ok")
        writer.write(b"GET /")
        assert await ended(reader) == b""


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nx: ", b"GET /", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_header_without_end_is_not_kept(sent: bytes) -> None:
    async with running(Listener(quick, HOST, 0)) as running_server, opened(running_server) as (reader, writer):
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                writer.write(b"x: y\r\n" * 1000 if sent.endswith(b"\n") else b"x" * 6000)
                await writer.drain()
        assert await ended(reader) == b""


async def test_a_body_that_still_comes_after_its_answer_is_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a large review goes to a path that is not there: its sender has to hear so."""
    monkeypatch.setattr(connections, "HEADER_BYTES", 1000)
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.02)
    async with running(Listener(quick, HOST, 0)) as running_server, opened(running_server) as (reader, writer):
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n")
            await reader.readuntil(b"ok")
            for _ in range(20):
                writer.write(b"x" * 10_000)
                await writer.drain()
        async with opened(running_server) as (other, _):
            await ended(other)  # which brought no header in time
        writer.write(REQUEST)
        await reader.readuntil(b"ok")


async def test_a_header_may_be_long() -> None:
    async with running(Listener(quick, HOST, 0)) as running_server, httpx.AsyncClient() as client:
        for _ in range(3):
            answer = await client.get(running_server.url(), headers={"cookie": "x" * 60_000})
            assert answer.text == "ok"


async def test_a_connection_that_was_of_use_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.02)
    async with running(Listener(quick, HOST, 0)) as running_server, opened(running_server) as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"ok")
        async with opened(running_server) as (other, _):
            await ended(other)  # whose time is over before
        writer.write(REQUEST)
        await reader.readuntil(b"ok")
