"""Protection of a webhook port that strangers can reach, over real TLS connections."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import ConfigurationError
from anchore_admission.web.clients import ClientNames
from anchore_admission.web.secret_path import SecretPath, watched_secret_path
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ServingCertificate
from support.certificates import client_pair, pair, presenting, trusting, written
from support.listening import HOST, quick, running
from support.webhook import JSON, POD_CREATE, Webhook

SERVER = pair()
SECRET = "s3cret-path-0123456789"


API_SERVER, BY_ALTERNATIVE = client_pair("kube-apiserver"), client_pair("x", alternative="api.example.com")
OTHER_NAME, STRANGER = client_pair("another"), client_pair("kube-apiserver")
NAMES = ClientNames(frozenset({"kube-apiserver", "api.example.com"}))


@pytest.fixture
def certificate(tmp_path: Path) -> ServingCertificate:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(API_SERVER.ca_bundle + BY_ALTERNATIVE.ca_bundle + OTHER_NAME.ca_bundle)
    return ServingCertificate(written(tmp_path, SERVER.certificate, SERVER.key), clients)


@pytest.mark.parametrize(("client", "status"), [(API_SERVER, 200), (BY_ALTERNATIVE, 200), (OTHER_NAME, 403)])
async def test_a_client_is_let_in_by_its_name(
    client: CertificatePair, status: int, certificate: ServingCertificate, tmp_path: Path
) -> None:
    async with (
        running(Listener(quick, HOST, 0, certificate, clients=NAMES)) as server,
        httpx.AsyncClient(verify=presenting(SERVER, client, tmp_path)) as asking,
    ):
        answer = await asking.get(server.url(scheme="https"))
    assert answer.status_code == status


async def test_a_rejected_client_is_logged_by_its_name(
    certificate: ServingCertificate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(Listener(quick, HOST, 0, certificate, clients=NAMES)) as server,
        httpx.AsyncClient(verify=presenting(SERVER, OTHER_NAME, tmp_path)) as asking,
    ):
        await asking.get(server.url(scheme="https"))
    assert "rejected a client whose certificate is for another; allow your API server by --client-name" in caplog.text


@pytest.mark.parametrize("client", [None, STRANGER], ids=["none", "of another CA"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_without_a_certificate_of_the_ca_gets_no_connection(
    client: CertificatePair | None, version: ssl.TLSVersion, certificate: ServingCertificate, tmp_path: Path
) -> None:
    context = presenting(SERVER, client, tmp_path) if client else trusting(SERVER)
    context.minimum_version = context.maximum_version = version
    async with (
        running(Listener(quick, HOST, 0, certificate, clients=NAMES)) as server,
        httpx.AsyncClient(verify=context) as asking,
    ):
        with pytest.raises(httpx.TransportError):
            await asking.get(server.url(scheme="https"))


async def test_clients_are_still_checked_after_the_certificate_has_changed(
    certificate: ServingCertificate, tmp_path: Path
) -> None:
    renewed = pair()
    certificate.present(renewed)
    async with (
        running(Listener(quick, HOST, 0, certificate, clients=NAMES)) as server,
        httpx.AsyncClient(verify=trusting(renewed)) as asking,
    ):
        with pytest.raises(httpx.TransportError):
            await asking.get(server.url(scheme="https"))


@pytest.mark.parametrize(
    ("shown", "allowed"),
    [
        ({}, False),
        ({"subject": ()}, False),
        ({"subject": ((("commonName", "kube-apiserver"),),)}, True),
        ({"subject": ((("organizationName", "kube-apiserver"),),)}, False),
        ({"subject": ((("commonName", "KUBE-APISERVER"),),)}, False),
        ({"subject": ((("commonName", "kube-apiserver.evil.example"),),)}, False),
        ({"subjectAltName": (("DNS", "api.example.com"),)}, True),
        ({"subjectAltName": (("URI", "api.example.com"),)}, True),
        ({"subjectAltName": (("DNS", "*.example.com"),)}, False),
        ({"subjectAltName": (("email", "api.example.com"),)}, False),
        ({"subjectAltName": (("IP Address", "api.example.com"),)}, False),
        ({"subjectAltName": (("Registered ID", "api.example.com"),)}, False),
        ({"subjectAltName": (("DirName", ((("commonName", "api.example.com"),),)),)}, False),
        ({"subjectAltName": (("othername", "api.example.com"), ("DNS", "kube-apiserver"))}, True),
    ],
)
def test_names_are_compared_whole(shown: Mapping[str, Any], allowed: bool) -> None:
    assert NAMES.allows(shown) is allowed


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path that reached the application."""
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/validate/{SECRET}", 200),
        (f"/validate/{SECRET}?timeout=10s", 200),
        ("/validate", 404),
        ("/validate/", 404),
        (f"/validate/{SECRET}/", 404),
        (f"/validate/{SECRET}x", 404),
        (f"/validate/{SECRET[:-1]}", 404),
        (f"/validate/{SECRET.upper()}", 404),
        ("/validate/%C3%A9", 404),
        ("/validate/%ff", 404),
        ("/validate%0A", 404),
        ("/validate%0a%0a", 404),
        ("/validate%00", 404),
        (f"/validate/{SECRET}%0A", 404),
        ("/validate/mutate", 404),
        (f"/validate/mutate/{SECRET}", 404),
    ],
)
@pytest.mark.parametrize("webhook", ["/validate", "/mutate"])
async def test_reviews_are_answered_at_the_secret_path_only(path: str, status: int, webhook: str) -> None:
    path = path.replace("/validate", webhook)
    transport = httpx.ASGITransport(SecretPath(echo, [SECRET]))
    async with httpx.AsyncClient(transport=transport, base_url="https://x") as asking:
        answer = await asking.post(path)
    assert answer.status_code == status
    assert SECRET not in answer.text
    if status == 200:
        assert answer.text == webhook


@pytest.mark.parametrize("path", ["/validate", "/mutate"])
@pytest.mark.parametrize("docs", [True, False])
async def test_a_path_that_only_looks_like_the_one_for_reviews_is_not_served(docs: bool, path: str) -> None:
    """Starlette's router overlooks a line break at the end of a path."""
    webhook = Webhook(docs=docs)
    for app in (webhook.app, SecretPath(webhook.app, [SECRET])):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://x") as asking:
            answer = await asking.post(f"{path}%0A", content=POD_CREATE, headers={"content-type": JSON})
        assert answer.status_code == 404
        assert answer.json()["reason"] == "NotFound"
    assert not webhook.recorder.reviews
    assert not webhook.recorder.pinnings


async def test_other_paths_are_as_they_were() -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(SecretPath(echo, [SECRET])), base_url="https://x"
    ) as asking:
        assert (await asking.get("/docs")).text == "/docs"


@pytest.mark.parametrize("secret", ["", "short", "with/slash/0123456789", "with space 0123456789", "x" * 254, "ä" * 20])
def test_a_secret_that_is_no_path_segment_or_can_be_guessed_is_rejected(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="--secret-path-file / ANCHORE_ADMISSION_SECRET_PATH_FILE: expected"):
        SecretPath(echo, [SECRET, secret])


async def test_a_changed_secret_path_is_followed_and_an_invalid_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "path"
    file.write_text(SECRET)
    guard = SecretPath(echo, [SECRET])
    followed = watched_secret_path(guard, file)
    changed = "another-secret-path"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="https://x") as asking:
        for invalid in ("", "short", "a/b" * 10):
            file.write_text(invalid)
            followed.refresh()
            assert followed.is_unusable()
            assert (await asking.post(f"/validate/{SECRET}")).status_code == 200
        file.write_text(f"{changed}\n")
        followed.refresh()
        assert not followed.is_unusable()
        assert (await asking.post(f"/validate/{changed}")).status_code == 200
        assert (await asking.post(f"/validate/{SECRET}")).status_code == 404
        assert guard.registered == changed


async def test_two_secrets_are_answered_while_one_replaces_the_other(tmp_path: Path) -> None:
    file, new = tmp_path / "path", "another-secret-path"
    file.write_text(SECRET)
    guard = SecretPath(echo, [SECRET])
    followed = watched_secret_path(guard, file)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="https://x") as asking:
        for text, registered in ((f"{SECRET}\n{new}\n", SECRET), (f"{new}\n{SECRET}\n", new)):
            file.write_text(text)
            followed.refresh()
            assert guard.registered == registered
            for secret in (SECRET, new):
                assert (await asking.post(f"/validate/{secret}")).status_code == 200
                assert (await asking.post(f"/mutate/{secret}")).status_code == 200
            assert (await asking.post("/validate")).status_code == 404
            assert (await asking.post("/mutate")).status_code == 404


def test_a_file_without_a_secret_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="secret-path-file"):
        SecretPath(echo, [])
