"""The client over real sockets: no answer, proxies, certificates, connections that are kept and lost."""

import asyncio
import base64
import gzip
import json
import logging
import ssl
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from anchore_admission.adapters.anchore import AnchoreEndpoint, Bounds
from anchore_admission.adapters.anchore.connect import connect
from anchore_admission.adapters.anchore.detection import DetectingAnchore
from anchore_admission.adapters.trust import WatchedTrust
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreResponseInvalid, AnchoreUnavailable, AnchoreUnreachable, DeadlineExceeded
from anchore_admission.models.configuration import ApiVersion
from support.anchore_calls import ADMIN, BOUNDS, DIGEST, TAG, client, deadline, v1_image
from support.anchore_servers import LOOPBACK, Served, http_answer, own_certificate, reset, serving
from support.certificates import pair_valid
from support.fakes import FakeRecorder

IMAGES = json.dumps([v1_image()]).encode()
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def found(_: bytes) -> bytes:
    return http_answer(IMAGES)


def at(port: int, *, host: str = LOOPBACK, bounds: Bounds = BOUNDS) -> DetectingAnchore:
    return client(None, url=f"http://{host}:{port}", bounds=bounds)


class TestConnections:
    async def test_one_connection_serves_many_calls(self) -> None:
        async with serving(found) as served, aclosing(at(served.port)) as anchore:
            for _ in range(3):
                assert await anchore.by_tag("r:5/a&b+c:1", deadline()) is None
        assert served.connections == 1
        head = served.heads[0].decode().lower()
        assert head.startswith("get /v1/images?fulltag=r")
        assert "a%26b%2bc" in head
        assert "\r\nauthorization: basic " in head

    async def test_cookies_are_not_sent_back(self) -> None:
        cookies = [b"set-cookie: server=a; path=/", b"set-cookie: session=secret; path=/"]
        async with (
            serving(lambda _: http_answer(IMAGES, *cookies)) as served,
            aclosing(at(served.port, host="localhost")) as anchore,
        ):
            for _ in range(2):
                assert await anchore.by_tag(TAG, deadline())
        assert len(served.heads) == 2
        assert not any(b"cookie" in head.lower() for head in served.heads)

    async def test_a_submission_is_sent_as_json(self) -> None:
        async with (
            serving(lambda head: None if b"POST" not in head else found(head)) as served,
            aclosing(at(served.port)) as anchore,
        ):
            # the server reads heads only, so the next head begins with the body
            await anchore.submit(AnalysisRequest(TAG), deadline())
        head = served.heads[0].decode().lower()
        assert "content-type: application/json" in head
        assert "content-length: " in head

    async def test_a_kept_connection_that_was_closed_is_replaced(self) -> None:
        said = iter([http_answer(IMAGES), b"", http_answer(IMAGES)])
        async with serving(lambda _: next(said)) as served, aclosing(at(served.port)) as anchore:
            assert await anchore.by_tag(TAG, deadline())
            assert await anchore.by_tag(TAG, deadline())
        assert served.connections == 2

    async def test_an_anchore_that_hangs_up_is_not_available(self) -> None:
        async with serving(lambda _: b"") as served, aclosing(at(served.port)) as anchore:
            with pytest.raises(AnchoreUnavailable, match="Anchore closed the connection") as caught:
                await anchore.by_tag(TAG, deadline(0.5))
            assert not isinstance(caught.value, AnchoreUnreachable)

    async def test_a_connection_that_is_reset_was_made(self) -> None:
        """The image of a request may be why Anchore crashes, so its author must not be able to feign a dead Anchore."""
        server = await asyncio.start_server(reset, LOOPBACK, 0)
        async with server, aclosing(at(server.sockets[0].getsockname()[1])) as anchore:
            with pytest.raises(AnchoreUnavailable, match=r"^Anchore closed the connection$") as caught:
                await anchore.by_tag(TAG, deadline(0.5))
            assert not isinstance(caught.value, AnchoreUnreachable)

    async def test_nothing_listens(self, caplog: pytest.LogCaptureFixture) -> None:
        async with serving(found) as served:
            pass
        async with aclosing(at(served.port)) as anchore:
            with pytest.raises(AnchoreUnreachable, match=rf"^cannot connect to Anchore at 127\.0\.0\.1:{served.port}$"):
                await anchore.by_tag(TAG, deadline(0.5))
        assert "Connect call failed" in caplog.text
        assert "ssl:" not in caplog.text

    async def test_an_unknown_host(self) -> None:
        async with aclosing(at(80, host="anchore.invalid", bounds=BOUNDS)) as anchore:
            with pytest.raises((AnchoreUnreachable, DeadlineExceeded)) as caught:
                await anchore.by_tag(TAG, deadline(0.5))
            unknown = "cannot connect to Anchore at anchore.invalid:80: its host name is not known"
            assert str(caught.value) in {unknown, "no response before the deadline"}

    async def test_nonsense_instead_of_http(self) -> None:
        async with serving(lambda _: b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as served, aclosing(at(served.port)) as anchore:
            with pytest.raises(AnchoreUnavailable):
                await anchore.by_tag(TAG, deadline())


class TestTime:
    async def test_an_anchore_that_never_answers_costs_no_more_than_the_deadline(self) -> None:
        recorder = FakeRecorder()
        async with (
            serving(lambda _: None) as served,
            aclosing(client(None, url=f"http://{LOOPBACK}:{served.port}", recorder=recorder)) as anchore,
        ):
            with pytest.raises(DeadlineExceeded):
                await anchore.by_tag(TAG, deadline(0.05))
        assert recorder.outcomes == ["deadline_exceeded"]

    async def test_an_answer_that_stops_half_way(self) -> None:
        async with serving(lambda head: found(head)[:-5]) as served, aclosing(at(served.port)) as anchore:
            with pytest.raises(DeadlineExceeded):
                await anchore.by_tag(TAG, deadline(0.05))

    async def test_the_read_bound_ends_a_call_before_its_deadline(self) -> None:
        async with (
            serving(lambda _: None) as served,
            aclosing(at(served.port, bounds=Bounds(connect=5, read=0.05, response=1024))) as anchore,
        ):
            with pytest.raises(AnchoreUnavailable, match=r"no response from Anchore within 0\.05 seconds"):
                await anchore.by_tag(TAG, deadline())


class TestSize:
    async def test_a_bomb_over_the_wire(self) -> None:
        packed = gzip.compress(b" " * 50_000_000)
        async with (
            serving(lambda _: http_answer(packed, b"content-encoding: gzip")) as served,
            aclosing(at(served.port)) as anchore,
        ):
            with pytest.raises(AnchoreResponseInvalid, match="larger than"):
                await anchore.by_tag(TAG, deadline())


class TestProxies:
    async def test_the_proxy_of_the_environment_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with serving(found) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{LOOPBACK}:{proxy.port}")
            async with aclosing(at(8228, host="anchore.invalid")) as anchore:
                assert await anchore.by_tag(TAG, deadline())
        head = proxy.heads[0].decode()
        assert head.startswith("GET http://anchore.invalid:8228/v1/images?fulltag=")
        assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:pass').decode()}" in head

    @pytest.mark.parametrize("exempt", [LOOPBACK, f"other,{LOOPBACK}", "*"])
    async def test_hosts_without_proxy_are_called_directly(self, monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
        async with serving(found) as proxy, serving(found) as served:
            monkeypatch.setenv("HTTP_PROXY", f"http://{LOOPBACK}:{proxy.port}")
            monkeypatch.setenv("NO_PROXY", exempt)
            async with aclosing(at(served.port)) as anchore:
                assert await anchore.by_tag(TAG, deadline())
        assert (len(proxy.heads), len(served.heads)) == (0, 1)

    async def test_a_proxy_that_rejects_a_tunnel_is_reported_without_its_password(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with serving(lambda _: http_answer(b"{}", status=b"407 No")) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:proxypass@{LOOPBACK}:{proxy.port}")
            async with aclosing(client(None, url="https://anchore.invalid")) as anchore:
                with pytest.raises(
                    AnchoreUnreachable, match=r"refuses the connection \(407\): it asks for a user name and password"
                ) as caught:
                    await anchore.by_tag(TAG, deadline())
        assert proxy.heads[0].startswith(b"CONNECT anchore.invalid:443 ")
        output = f"{caplog.text}{caught.value!r}"
        assert "proxypass" not in output
        assert base64.b64encode(b"user:proxypass").decode() not in output


class TestCertificates:
    async def by_digest(self, endpoint: AnchoreEndpoint) -> object:
        async with aclosing(connect(endpoint, ADMIN, name="a", recorder=FakeRecorder(), bounds=BOUNDS)) as anchore:
            return await anchore.by_digest(DIGEST, deadline())

    async def test_a_private_ca_is_trusted_by_its_file(self, tmp_path: Path) -> None:
        file, tls = own_certificate(tmp_path)
        async with serving(found, tls) as served:
            url = f"https://{LOOPBACK}:{served.port}"
            assert await self.by_digest(AnchoreEndpoint(url, ApiVersion.V1, ca_file=str(file)))

    async def test_an_unknown_ca_is_not_trusted(self, tmp_path: Path) -> None:
        _, tls = own_certificate(tmp_path)
        async with serving(found, tls) as served:
            endpoint = AnchoreEndpoint(f"https://{LOOPBACK}:{served.port}", ApiVersion.V1)
            with pytest.raises(AnchoreUnavailable, match="is not trusted: it is self-signed"):
                await self.by_digest(endpoint)
        assert served.heads == []

    async def test_https_to_a_plain_port_says_so(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(http_answer(b"", status=b"400 Bad Request"))
            writer.close()

        async with await asyncio.start_server(answer, LOOPBACK, 0) as server:
            endpoint = AnchoreEndpoint(f"https://{LOOPBACK}:{server.sockets[0].getsockname()[1]}", ApiVersion.V1)
            with pytest.raises(AnchoreUnavailable, match=r"it speaks plain HTTP at an https:// address; write http://"):
                await self.by_digest(endpoint)

    async def test_an_expired_certificate_says_so(self, tmp_path: Path) -> None:
        expired = pair_valid(timedelta(days=-2), timedelta(days=-1))
        file, both = tmp_path / "ca.crt", tmp_path / "both.pem"
        file.write_bytes(expired.certificate)
        both.write_bytes(expired.key + expired.certificate)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(both)
        async with serving(found, tls) as served:
            endpoint = AnchoreEndpoint(f"https://localhost:{served.port}", ApiVersion.V1, ca_file=str(file))
            with pytest.raises(AnchoreUnavailable, match="is not trusted: it has expired"):
                await self.by_digest(endpoint)

    async def test_a_changed_ca_file_is_followed_and_an_invalid_one_is_not(self, tmp_path: Path) -> None:
        (first := tmp_path / "1").mkdir()
        (second := tmp_path / "2").mkdir()
        (old, old_tls), (new, new_tls) = own_certificate(first), own_certificate(second)
        mounted = tmp_path / "ca.crt"
        mounted.write_bytes(old.read_bytes())
        trust = WatchedTrust(mounted)

        async def ask(served: Served) -> object:
            endpoint = AnchoreEndpoint(f"https://{LOOPBACK}:{served.port}", ApiVersion.V1, ca_file=str(mounted))
            return await anchore_at(endpoint).by_digest(DIGEST, deadline())

        opened: list[DetectingAnchore] = []

        def anchore_at(endpoint: AnchoreEndpoint) -> DetectingAnchore:
            anchore = connect(endpoint, ADMIN, name="a", recorder=FakeRecorder(), bounds=BOUNDS, trusted=trust.current)
            opened.append(anchore)
            return anchore

        async with serving(found, old_tls) as before, serving(found, new_tls) as after:
            assert await ask(before)
            for invalid in (b"", b"rubbish", b"-----BEGIN CERTIFICATE-----"):
                mounted.write_bytes(invalid)
                trust.watched.refresh()
                assert trust.watched.is_unusable()
                assert await ask(before)
            mounted.write_bytes(new.read_bytes())
            trust.watched.refresh()
            assert not trust.watched.is_unusable()
            assert await ask(after)
            with pytest.raises(AnchoreUnavailable, match="not trusted"):
                await ask(before)
            for anchore in opened:
                await anchore.aclose()

    async def test_a_certificate_for_another_name_is_not_trusted(self, tmp_path: Path) -> None:
        file, tls = own_certificate(tmp_path)
        async with serving(found, tls) as served:
            endpoint = AnchoreEndpoint(f"https://localhost:{served.port}", ApiVersion.V1, ca_file=str(file))
            with pytest.raises(AnchoreUnavailable, match="is not trusted: it is for another host name"):
                await self.by_digest(endpoint)

    async def test_trust_can_be_waived(self, tmp_path: Path) -> None:
        _, tls = own_certificate(tmp_path)
        async with serving(found, tls) as served:
            url = f"https://{LOOPBACK}:{served.port}"
            assert await self.by_digest(AnchoreEndpoint(url, ApiVersion.V1, verify_tls=False))
