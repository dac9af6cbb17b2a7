"""Hostile clients and their connections: they cannot keep others from being served."""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from anchore_admission.web import accepting, connections, server
from anchore_admission.web.connections import Closed
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ServingCertificate
from support.certificates import pair, trusting, written
from support.listening import HOST, Running, Slow, quick, running

TRUSTED = pair()
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
    """Return the bytes that arrived before the other side closed."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


async def test_silent_connections_do_not_keep_others_from_being_answered() -> None:
    async with contextlib.AsyncExitStack() as stack:
        running_server = await stack.enter_async_context(running(Listener(quick, HOST, 0)))
        idle = [await stack.enter_async_context(opened(running_server)) for _ in range(3 * LIMIT)]
        async with httpx.AsyncClient() as client:
            for _ in range(3):
                assert (await client.get(running_server.url())).text == "ok"
        assert await ended(idle[0][0]) == b""


async def test_the_connection_idle_longest_makes_room() -> None:
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
    """Connect from a thread, so that the loop finds a newcomer and its request in one step."""
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


async def test_requests_are_rejected_while_every_connection_is_busy() -> None:
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
    """A large review to a wrong path: its sender must receive the 404."""
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
            await ended(other)  # it sent no header in time
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
            await ended(other)  # its time is over first
        writer.write(REQUEST)
        await reader.readuntil(b"ok")


def stalled(body: bytes = b"") -> bytes:
    """A request whose header is whole and whose body does not end."""
    return b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n" + body


async def reading(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer when the body is whole."""
    while (message := await receive())["type"] == "http.request":
        if not message.get("more_body"):
            await quick(_scope, receive, send)
            return


@pytest.mark.parametrize("body", [b"", b"x"])
async def test_a_body_that_does_not_come_to_its_end_is_not_waited_for(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.02)
    closed: list[Closed] = []
    listener = Listener(reading, HOST, 0, on_closed=closed.append)
    async with running(listener) as running_server, opened(running_server) as (reader, writer):
        writer.write(stalled(body))
        assert await ended(reader) == b""
    assert closed == [Closed.BODY]


async def test_a_body_that_makes_progress_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.02)
    monkeypatch.setattr(connections, "BODY_BYTES", 1)
    sent = 0

    async def keep_sending(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"x")
            sent += 1
            await asyncio.sleep(0)

    async with running(Listener(reading, HOST, 0)) as running_server, opened(running_server) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        sending = asyncio.create_task(keep_sending(writer))
        for _ in range(3):
            async with opened(running_server) as (other, others):
                others.write(stalled())
                await ended(other)  # its time is over first
        sending.cancel()
        writer.write(b"x" * (1_000_000 - sent))
        await reader.readuntil(b"ok")


async def test_a_body_that_this_side_holds_up_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.02)
    slow = Slow()
    async with running(Listener(slow, HOST, 0)) as running_server, opened(running_server) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n" + b"x" * 2_000_000)
        await slow.asked.wait()
        for _ in range(3):
            async with opened(running_server) as (other, others):
                others.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
                await ended(other)
        slow.let_go.set()
        await reader.readuntil(b"ok")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_bodies_that_never_arrive_do_not_keep_others_from_being_answered(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.0)
    taken: list[socket.socket] = []

    def ask(port: int) -> bytes:
        for number in range(20 * LIMIT):
            taken.append(socket.create_connection((HOST, port)))
            taken[-1].sendall(stalled(b"x" * (number % 9)))
        try:
            # uvicorn also counts the tasks of connections that have just been closed, until each has had its turn.
            said = b""
            for _ in range(100):
                with socket.create_connection((HOST, port)) as client:
                    client.sendall(REQUEST)
                    said = client.recv(1000)
                if said.startswith(b"HTTP/1.1 200"):
                    break
            return said
        finally:
            for connection in taken:
                connection.close()

    async def serving() -> None:
        async with running(Listener(reading_all_but_get, HOST, 0)) as server:
            assert (await asyncio.to_thread(ask, server.ports[0])).startswith(b"HTTP/1.1 200")

    run(serving())


async def reading_all_but_get(scope: Scope, receive: Receive, send: Send) -> None:
    await (quick if scope["method"] == "GET" else reading)(scope, receive, send)


async def test_of_bodies_that_have_stalled_the_one_with_the_least_progress_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.0)
    async with contextlib.AsyncExitStack() as stack:
        running_server = await stack.enter_async_context(running(Listener(reading_all_but_get, HOST, 0)))
        idle = await stack.enter_async_context(opened(running_server))
        idle[1].write(REQUEST)
        await idle[0].readuntil(b"ok")
        most, least = [await stack.enter_async_context(opened(running_server)) for _ in range(2)]
        most[1].write(stalled(b"x" * 9))
        least[1].write(stalled(b"x"))
        async with httpx.AsyncClient() as client:
            assert (await client.get(running_server.url())).text == "ok"
        assert await ended(least[0]) == b""
        most[1].write(b"x")
        await most[0].readuntil(b"ok")
        idle[1].write(REQUEST)
        await idle[0].readuntil(b"ok")


async def large(_scope: Scope, _receive: Receive, send: Send) -> None:
    """An answer that fills every buffer on the way, and one more piece, which waits for room."""
    body = b"x" * 16_000_000
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"16000001")]})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b"x"})


@pytest.mark.parametrize("request_sent", [REQUEST, REQUEST * 50], ids=["one", "pipelined"])
async def test_a_client_that_does_not_read_is_not_waited_for(
    request_sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WRITE_SECONDS", 0.02)
    closed = asyncio.Queue[Closed]()
    async with running(Listener(large, HOST, 0, on_closed=closed.put_nowait)) as running_server:
        with socket.create_connection((HOST, running_server.ports[0])) as client:
            client.setblocking(False)
            client.sendall(request_sent)
            assert await closed.get() is Closed.UNREAD


async def test_of_clients_that_do_not_read_only_so_many_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WRITERS", 1)
    closed = asyncio.Queue[Closed]()
    async with running(Listener(large, HOST, 0, on_closed=closed.put_nowait)) as running_server:
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                client = stack.enter_context(socket.create_connection((HOST, running_server.ports[0])))
                client.sendall(REQUEST)
            assert await closed.get() is Closed.UNREAD


async def test_a_connection_that_is_closed_does_not_wait_for_a_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "WRITE_SECONDS", 0.02)

    async def closing(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"16000000"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 16_000_000})

    closed = asyncio.Queue[Closed]()
    async with running(Listener(closing, HOST, 0, on_closed=closed.put_nowait)) as running_server:
        with socket.create_connection((HOST, running_server.ports[0])) as client:
            client.sendall(REQUEST)
            assert await closed.get() is Closed.UNREAD


@pytest.fixture
def certificate(tmp_path: Path) -> ServingCertificate:
    return ServingCertificate(written(tmp_path, TRUSTED.certificate, TRUSTED.key))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a greeting"])
def test_handshakes_that_do_not_begin_make_room(
    run: Run, hello: bytes, certificate: ServingCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "HANDSHAKES", 3)
    closed: list[Closed] = []
    silent: list[socket.socket] = []

    def connect(port: int) -> str:
        for _ in range(10):
            silent.append(socket.create_connection((HOST, port)))
            silent[-1].sendall(hello)
        for gone in silent[:4]:
            with contextlib.suppress(ConnectionResetError):
                assert gone.recv(100) == b""
        return httpx.get(f"https://{HOST}:{port}/", verify=trusting(TRUSTED)).text

    async def serving() -> None:
        async with running(Listener(quick, HOST, 0, certificate, on_closed=closed.append)) as server:
            assert await asyncio.to_thread(connect, server.ports[0]) == "ok"

    try:
        run(serving())
    finally:
        for connection in silent:
            connection.close()
    assert len(closed) >= 8
    assert set(closed) == {Closed.HANDSHAKE}


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_handshake_that_does_not_end_is_not_waited_for(
    run: Run, certificate: ServingCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "HEADER_SECONDS", 0.02)

    async def serving() -> None:
        closed = asyncio.Queue[Closed]()
        async with running(Listener(quick, HOST, 0, certificate, on_closed=closed.put_nowait)) as server:
            with socket.create_connection((HOST, server.ports[0])):
                assert await closed.get() is Closed.HANDSHAKE

    run(serving())


async def test_a_client_that_speaks_no_tls_does_not_disturb_others(certificate: ServingCertificate) -> None:
    async with running(Listener(quick, HOST, 0, certificate)) as server:
        async with opened(server) as (reader, writer):
            writer.write(REQUEST)
            await ended(reader)
        async with httpx.AsyncClient(verify=trusting(TRUSTED)) as client:
            assert (await client.get(server.url(scheme="https"))).text == "ok"


async def test_a_handshake_under_way_at_the_end_is_waited_for(certificate: ServingCertificate) -> None:
    server = running(Listener(quick, HOST, 0, certificate))
    async with server as served:
        handshake = asyncio.create_task(
            asyncio.open_connection(HOST, served.ports[0], ssl=trusting(TRUSTED), server_hostname="localhost")
        )
        await asyncio.sleep(0)
        await served.end()
        with contextlib.suppress(OSError):
            _, writer = await handshake
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.mark.parametrize(("soft", "hard", "granted", "connections"), [
    (1024, 4096, 1536, 1024),
    (1024, 1024, 1024, 512),
    (100, 200, 200, 256),
    (1024, resource.RLIM_INFINITY, 1536, 1024),
    (4096, 4096, None, 1024),
    (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 1024),
])  # fmt: skip
def test_connections_leave_room_for_other_files(
    soft: int, hard: int, granted: int | None, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(server, "CONNECTIONS", 1024)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: taken.append(limits))
    assert server.descriptors() == connections
    assert taken == ([] if granted is None else [(granted, hard)])


async def test_nonsense_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("uvicorn.error").addFilter(connections.OncePerWindow())
    async with running(Listener(quick, HOST, 0)) as server:
        for _ in range(5):
            async with opened(server) as (reader, writer):
                writer.write(b"nonsense\r\n\r\n")
                await ended(reader)
    assert sum(1 for record in caplog.records if "Invalid HTTP" in record.message) <= 1


class Exhausted(socket.socket):
    """A port whose process has no file descriptor left for the first connection."""

    failed = False

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.failed:
            self.failed = True
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"ok")
        transport.close()


async def test_a_connection_is_accepted_once_there_are_file_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    bound = Exhausted()
    bound.bind((HOST, 0))
    bound.listen()
    acceptor = accepting.Acceptor(bound, Greeting, None, lambda _: None)
    acceptor.start()
    reader, writer = await asyncio.open_connection(HOST, bound.getsockname()[1])
    assert await reader.read() == b"ok"
    writer.close()
    await acceptor.close()
    assert caplog.messages == ["cannot accept connections: Too many open files; trying again"]
