"""The client of Open Policy Agent over real sockets: silent, broken and hostile servers, and a real OPA that fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.core.hook import HookDecision
from anchore_admission.errors import HookError, HookFailed, HookInvalid, HookUnavailable
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.deadline import Deadline
from anchore_admission.wiring.hook import WiredHook, decision_hook
from support.anchore_servers import http_answer, own_certificate, reset, serving
from support.certificates import pair, plain_pair, written
from support.hooks import AUTHORIZATION, CONTRACT, TOKEN, OpaServer, document, started
from support.listening import HOST
from support.ports import free_port

NOTHING = http_answer(b'{"result":{"deny":[]}}')
DENIED = HookDecision(deny=("d",))


def wired(url: str, environ: Mapping[str, str] | None = None, /, **more: Any) -> WiredHook:
    section = {"url": url, "timeout": "10s", **more}
    hook = decision_hook(Configuration.model_validate({"opa": section}), Telemetry(), environ or {})
    assert hook
    return hook


async def decided(url: str, environ: Mapping[str, str] | None = None, /, **more: Any) -> HookDecision:
    hook = wired(url, environ, **more).hook
    async with aclosing(hook):
        return await hook.decide(document(deny=["d"]), Deadline.after(30))


async def failure(url: str, kind: type[HookError] = HookUnavailable, /, **more: Any) -> str:
    with pytest.raises(kind) as caught:
        await decided(url, **more)
    return str(caught.value)


@asynccontextmanager
async def answering(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    """The address of a server that handles each connection as the test says."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await answer(reader, writer)
        except ConnectionError:
            pass  # the client has gone
        finally:
            writer.close()

    server = await asyncio.start_server(handle, HOST, 0)
    try:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x-header: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
    ],
)
async def test_a_server_that_does_not_speak_http_is_unavailable(raw: bytes) -> None:
    async with serving(lambda _: raw) as server:
        text = await failure(f"http://{HOST}:{server.port}")
        assert text == "the response is not HTTP, so it is not from OPA; check opa.url"
        assert server.connections == 1


async def test_endless_interim_responses_end_the_connection() -> None:
    async with serving(lambda _: b"HTTP/1.1 100 Continue\r\n\r\n" * 1000) as server:
        assert await failure(f"http://{HOST}:{server.port}") == "OPA closed the connection without a response"


@pytest.mark.parametrize("body", [b"", b'{"result":', b'{"result":{"deny":[]}'])
async def test_an_answer_that_is_closed_in_its_middle_is_no_decision(body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 23\r\n\r\n" + body)
        await writer.drain()

    async with answering(answer) as url:
        assert await failure(url) == "OPA closed the connection in the middle of its response"


async def test_an_answer_without_a_length_that_is_cut_short_is_no_decision() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{"result":{"deny":[]}')
        await writer.drain()

    async with answering(answer) as url:
        assert await failure(url, HookInvalid) == "OPA's answer is not valid JSON"


async def test_a_new_connection_that_is_closed_is_not_retried() -> None:
    async with serving(lambda _: b"") as server:
        assert await failure(f"http://{HOST}:{server.port}") == "OPA closed the connection without a response"
        assert server.connections == 1


async def test_a_reset_connection_is_unavailable() -> None:
    async with answering(reset) as url:
        assert await failure(url) == "OPA closed the connection without a response"


async def test_a_kept_connection_that_is_closed_is_retried_on_another() -> None:
    """A server may close an idle connection while the next request is on its way."""
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for number in range(2):
            await reader.readuntil(b'"say": {"deny": ["d"]}}}')
            if number == 1 and connections == 1:
                return
            writer.write(NOTHING)

    async with answering(answer) as url, aclosing(wired(url).hook) as hook:
        for _ in range(2):
            assert await hook.decide(document(deny=["d"]), Deadline.after(30)) == HookDecision()
        assert connections == 2


async def test_a_silent_server_costs_the_timeout() -> None:
    async with serving(lambda _: None) as server:
        text = await failure(f"http://{HOST}:{server.port}", timeout="100ms")
    assert text == "no response from OPA within 0.1 seconds"


async def test_an_answer_that_drips_costs_the_timeout() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.001)

    async with answering(answer) as url:
        assert await failure(url, timeout="100ms") == "no response from OPA within 0.1 seconds"


async def test_an_answer_of_megabytes_is_not_read_to_its_end() -> None:
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        size = 5 * 1024 * 1024
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 16_384)
            await writer.drain()
            sent += 16_384

    async with answering(answer) as url:
        assert await failure(url, HookFailed) == (
            "OPA's answer is larger than 256 KiB; move rules that repeat the input to another package"
        )


async def test_nothing_that_listens_is_named() -> None:
    address = f"http://{HOST}:{free_port()}"
    assert await failure(address) == f"cannot connect to OPA at {address}: Connection refused"


async def test_an_unknown_host_is_named() -> None:
    address = "http://opa.invalid:8181"
    assert await failure(address) == f"cannot connect to OPA at {address}: its host name is not known"


async def test_a_socket_that_is_absent_or_forbidden_is_named(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/opa.sock"
    assert await failure(url) == f"cannot connect to OPA at {url}: No such file or directory"
    (tmp_path / "opa.sock").touch()
    assert await failure(url) == f"cannot connect to OPA at {url}: Connection refused"


async def test_plain_http_and_tls_are_told_apart(tmp_path: Path) -> None:
    _, tls = own_certificate(tmp_path)
    async with serving(lambda _: NOTHING, tls) as server:
        assert await failure(f"http://{HOST}:{server.port}") == "OPA closed the connection without a response"
    with started(OpaServer(CONTRACT)) as opa:
        address = f"https://{HOST}:{opa.port}"
        text = await failure(address)
        assert text.startswith(f"cannot connect to OPA at {address}: it speaks plain HTTP at an https:// address; ")
        assert text.endswith("write http:// in opa.url, or name the TLS port")


async def test_a_certificate_of_another_ca_is_not_trusted(tmp_path: Path) -> None:
    ca, tls = own_certificate(tmp_path)
    other = tmp_path / "other.crt"
    other.write_bytes(pair().ca_bundle)
    async with serving(lambda _: NOTHING, tls) as server:
        url = f"https://{HOST}:{server.port}"
        assert await decided(url, caFile=str(ca)) == HookDecision()
        text = await failure(url, caFile=str(other))
        why = "its TLS certificate is not trusted: it is self-signed and not in opa.caFile"
        assert text == f"cannot connect to OPA at {url}: {why}"


async def test_an_address_is_called_through_the_proxy_and_a_socket_is_not(tmp_path: Path) -> None:
    async with serving(lambda _: NOTHING) as proxy:
        environ = {"http_proxy": f"http://{HOST}:{proxy.port}"}
        assert await decided("http://opa.example.com", environ) == HookDecision()
        assert b"opa.example.com" in proxy.heads[0]
        with pytest.raises(HookUnavailable):
            await decided(f"unix://{tmp_path}/opa.sock", environ)
        assert len(proxy.heads) == 1


async def test_a_proxy_that_refuses_is_named() -> None:
    refusal = http_answer(b"", status=b"403 Forbidden")
    async with serving(lambda _: refusal) as proxy:
        environ = {"https_proxy": f"http://{HOST}:{proxy.port}"}
        with pytest.raises(HookUnavailable, match=r"^the proxy before OPA refuses the connection \(403\)$"):
            await decided("https://opa.example.com", environ)
        assert len(proxy.heads) == 1


async def test_an_opa_that_restarts_is_found_again() -> None:
    server = OpaServer(CONTRACT)
    with started(server):
        async with aclosing(wired(server.url).hook) as hook:
            many = [hook.decide(document(deny=["d"]), Deadline.after(30)) for _ in range(8)]
            assert await asyncio.gather(*many) == [DENIED] * 8
            server.stop()
            with pytest.raises(HookUnavailable, match=r": Connection refused$"):
                await hook.decide(document(), Deadline.after(30))
            server.start()
            assert await hook.decide(document(deny=["d"]), Deadline.after(30)) == DENIED


async def test_a_socket_of_an_opa_that_was_killed_serves_the_next_one(tmp_path: Path) -> None:
    server = OpaServer(CONTRACT, tmp_path / "opa.sock")
    with started(server):
        async with aclosing(wired(server.url).hook) as hook:
            assert await hook.decide(document(deny=["d"]), Deadline.after(30)) == DENIED
            server.stop()
            assert (tmp_path / "opa.sock").exists()
            server.start()
            assert await hook.decide(document(deny=["d"]), Deadline.after(30)) == DENIED


async def test_a_call_that_ends_stops_the_evaluation() -> None:
    with started(OpaServer(CONTRACT)) as server:
        async with aclosing(wired(server.url, timeout="200ms").hook) as hook:
            with pytest.raises(HookUnavailable, match="no response from OPA"):
                await hook.decide(document(slow=True), Deadline.after(30))
            await server.idle()


async def test_a_token_of_another_caller_is_not_authorized(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token-of-a-stranger")
    options = ["--authentication", "token", "--authorization", "basic"]
    with started(OpaServer([*CONTRACT, AUTHORIZATION], options=options)) as server:
        for more in ({}, {"tokenFile": str(token)}):
            text = await failure(server.url, **more)
            assert text.startswith("OPA does not authorize the request (401); ")
            assert "stranger" not in text
        hook = wired(server.url, tokenFile=str(token))
        token.write_text(f"{TOKEN}\n")
        for source in hook.watched:
            source.refresh()
        async with aclosing(hook.hook):
            assert await hook.hook.decide(document(deny=["d"]), Deadline.after(30)) == DENIED


async def test_a_client_certificate_is_required_and_may_change(tmp_path: Path) -> None:
    own, stranger, client = pair(), plain_pair("stranger"), plain_pair("controller")
    files = written(tmp_path, own.certificate, own.key)
    ca, clients, folder = tmp_path / "ca.crt", tmp_path / "clients.crt", tmp_path / "client"
    ca.write_bytes(own.ca_bundle)
    clients.write_bytes(client.ca_bundle)
    folder.mkdir()
    shown = written(folder, stranger.certificate, stranger.key)
    options = ["--tls-cert-file", str(files.certificate), "--tls-private-key-file", str(files.key)]
    options += ["--authentication", "tls", "--tls-ca-cert-file", str(clients)]
    mine = {"caFile": str(ca), "certificateFile": str(shown.certificate), "keyFile": str(shown.key)}
    with started(OpaServer(CONTRACT, options=options, scheme="https")) as server:
        for more in ({"caFile": str(ca)}, mine):
            assert (await failure(server.url, **more)).startswith("OPA does not accept the client certificate (")
        hook = wired(server.url, **mine)
        written(folder, client.certificate, client.key)
        for source in hook.watched:
            source.refresh()
        async with aclosing(hook.hook):
            assert await hook.hook.decide(document(deny=["d"]), Deadline.after(30)) == DENIED
