import asyncio
import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from anchore_admission.errors import ConfigurationError
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ServingCertificate
from support.certificates import pair, refresh, trusting, written
from support.listening import DRAIN_SECONDS, HOST, Slow, quick, running
from support.paths import ROOT

TRUSTED, NEXT = pair(), pair()


def plain(app: ASGIApp, host: str = HOST, port: int = 0) -> Listener:
    return Listener(app, host, port)


@pytest.fixture
def certificate(tmp_path: Path) -> ServingCertificate:
    return ServingCertificate(written(tmp_path, TRUSTED.certificate, TRUSTED.key))


async def test_reviews_come_over_tls_and_operations_in_the_clear(certificate: ServingCertificate) -> None:
    async with (
        running(Listener(quick, HOST, 0, certificate), plain(quick)) as server,
        httpx.AsyncClient(verify=trusting(TRUSTED)) as client,
    ):
        secure = await client.post(server.url(scheme="https"), content=b"{}")
        clear = await client.get(server.url(1))
    assert (secure.text, clear.text) == ("ok", "ok")
    assert dict(secure.headers) == {"content-length": "2"}


@pytest.mark.parametrize("host", ["localhost", HOST])
async def test_a_new_certificate_is_presented_with_and_without_a_server_name(
    host: str, certificate: ServingCertificate, tmp_path: Path
) -> None:
    async with (
        running(Listener(quick, HOST, 0, certificate)) as server,
        httpx.AsyncClient(verify=trusting(TRUSTED)) as old,
        httpx.AsyncClient(verify=trusting(NEXT)) as new,
    ):
        url = server.url(scheme="https", host=host)
        await old.get(url)
        written(tmp_path, NEXT.certificate, NEXT.key)
        refresh(certificate)
        assert (await new.get(url)).text == "ok"
        assert (await old.get(url)).text == "ok"  # its connection goes on


async def test_a_mismatched_certificate_does_not_stop_handshakes(
    certificate: ServingCertificate, tmp_path: Path
) -> None:
    async with running(Listener(quick, HOST, 0, certificate)) as server:
        written(tmp_path, NEXT.certificate, TRUSTED.key)
        refresh(certificate)
        async with httpx.AsyncClient(verify=trusting(TRUSTED)) as client:
            assert (await client.get(server.url(scheme="https"))).text == "ok"


async def test_a_request_in_flight_is_answered_before_the_end() -> None:
    slow = Slow()
    async with running(plain(slow), plain(quick)) as server, httpx.AsyncClient() as client:
        request = asyncio.create_task(client.get(server.url()))
        await slow.asked.wait()
        server.stop.set()
        await server.stopping.wait()
        assert (await client.get(server.url(1))).text == "ok"  # the operations port stays until the other has drained
        assert not server.task.done()
        slow.let_go.set()
        answer = await request
        assert (answer.text, answer.headers["connection"]) == ("ok", "close")
        await server.task
        for number in (0, 1):
            with pytest.raises(httpx.ConnectError):
                await client.get(server.url(number))


async def test_idle_connections_do_not_keep_the_process() -> None:
    async with running(plain(quick)) as server, httpx.AsyncClient() as client:
        assert "connection" not in (await client.get(server.url())).headers
        await server.end()


async def test_a_peer_that_never_confirms_the_end_does_not_keep_the_process(certificate: ServingCertificate) -> None:
    def silent(port: int) -> ssl.SSLSocket:
        """A client that stops reading, so that it never receives the server's close_notify."""
        plain_socket = socket.create_connection((HOST, port))
        connection = trusting(TRUSTED).wrap_socket(plain_socket, server_hostname="localhost")
        connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        return connection

    async with running(Listener(quick, HOST, 0, certificate)) as server:
        with await asyncio.to_thread(silent, server.ports[0]):
            async with asyncio.timeout(DRAIN_SECONDS / 2):
                await server.end()
        assert server.task.done()


async def test_responses_while_draining_close_the_connection() -> None:
    async with running(plain(quick), linger_seconds=3600) as server, httpx.AsyncClient() as client:
        await client.get(server.url())
        server.stop.set()
        await server.stopping.wait()
        answer = await client.get(server.url())
        assert (answer.text, answer.headers["connection"]) == ("ok", "close")
        assert not server.task.done()


async def test_a_request_that_never_ends_does_not_keep_the_process() -> None:
    slow = Slow()
    async with running(plain(slow), drain_seconds=0) as server, httpx.AsyncClient() as client:
        request = asyncio.create_task(client.get(server.url()))
        await slow.asked.wait()
        await server.end()
        assert (await request).status_code == 500


async def test_a_port_that_is_taken_is_named_by_its_flag() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        listeners = [plain(quick), Listener(quick, HOST, port, setting="operations_port")]
        with pytest.raises(ConfigurationError) as caught:
            async with running(*listeners):
                pytest.fail("must not become ready")
    (problem,) = caught.value.problems
    assert str(problem) == (
        f"--operations-port / ANCHORE_ADMISSION_OPERATIONS_PORT: cannot listen on {HOST}:{port}: Address already in use"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_is_named_by_its_flag(host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with running(plain(quick, host)):
            pytest.fail("must not become ready")
    (problem,) = caught.value.problems
    assert str(problem).startswith("--host / ANCHORE_ADMISSION_HOST: ")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_the_unspecified_ipv6_address_serves_both_families() -> None:
    async with running(plain(quick, "::")) as server, httpx.AsyncClient() as client:
        for host in ("[::1]", HOST):
            assert (await client.get(server.url(host=host))).text == "ok"


async def test_a_signal_begins_the_end_and_afterwards_all_is_as_before() -> None:
    assert threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    slow = Slow()
    async with running(plain(slow)) as server, httpx.AsyncClient() as client:
        request = asyncio.create_task(client.get(server.url()))
        await slow.asked.wait()
        signal.raise_signal(signal.SIGTERM)
        await server.stopping.wait()
        slow.let_go.set()
        assert (await request).text == "ok"
        await server.task
    assert {number: signal.getsignal(number) for number in before} == before


async def test_a_request_that_is_not_http_is_rejected_and_the_next_is_answered() -> None:
    async with running(plain(quick)) as server:
        reader, writer = await asyncio.open_connection(HOST, server.ports[0])
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await writer.wait_closed()
        async with httpx.AsyncClient() as client:
            assert (await client.get(server.url())).text == "ok"


@pytest.mark.process
def test_a_process_finishes_requests_in_flight_and_exits_with_zero(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    with stoppable(tmp_path, "answers") as (process, url):
        asking = threading.Thread(target=lambda: answers.append(httpx.get(url, verify=trusting(TRUSTED))))
        asking.start()
        assert read(process) == "asked"
        process.send_signal(signal.SIGTERM)
        asking.join()
        assert answers[0].text == "done"
        assert process.wait() == 0
        assert process.stderr
        assert process.stderr.read() == ""


@pytest.mark.process
@pytest.mark.parametrize(("second", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals, code: int, tmp_path: Path) -> None:
    """The process exits by itself; the kernel's default action does not apply to PID 1 of a container."""
    with stoppable(tmp_path, "hangs") as (process, url):

        def ask() -> None:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(url, verify=trusting(TRUSTED))

        asking = threading.Thread(target=ask)
        asking.start()
        assert read(process) == "asked"
        process.send_signal(signal.SIGTERM)
        assert read(process) == "stopping"
        process.send_signal(second)
        assert process.wait() == code
        asking.join()


@contextlib.contextmanager
def stoppable(folder: Path, how: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and its address."""
    written(folder, TRUSTED.certificate, TRUSTED.key)
    program = [sys.executable, "-m", "support.stoppable_server", str(folder), how]
    tests = ROOT / "tests"
    with subprocess.Popen(  # noqa: S603 - ourselves
        program, cwd=tests, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process, f"https://localhost:{read(process)}/"
        finally:
            process.kill()


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()
