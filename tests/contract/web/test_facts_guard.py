"""The guards of the port for facts: strangers learn nothing, by token or by certificate, over real TLS connections."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import ConfigurationError
from anchore_admission.ports.telemetry import Engine, FactsOutcome
from anchore_admission.services.cluster.token_access import TokenAccess
from anchore_admission.web.body import send_json
from anchore_admission.web.facts import DEADLINE, SECONDS
from anchore_admission.web.facts_guard import CONNECTION_SECONDS, FactsClients, FactsGuard, watched_facts_token
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ClientCas, ServingCertificate
from support.certificates import client_pair, pair, presenting, trusting, written
from support.facts_port import GOOD, NEXT_TOKEN, TOKEN, FactsPortSetup, provider_request, provider_response
from support.fakes import settled
from support.listening import HOST, Running, running
from support.token_api import AUDIENCE, KYVERNO, OTHER

PATHS = ("/facts", "/facts/gatekeeper", "/facts/gatekeeper/other", "/", "/validate")
DENIED, UNVERIFIED, ANSWERED = FactsOutcome.DENIED, FactsOutcome.UNVERIFIED, FactsOutcome.ANSWERED
QUESTION = {"images": [GOOD]}
SERVER, GATEKEEPER, OTHER_NAME, STRANGER = (
    pair(),
    client_pair("gatekeeper-webhook-service.gatekeeper-system.svc"),
    client_pair("another"),
    client_pair("gatekeeper-webhook-service.gatekeeper-system.svc"),
)


@pytest.fixture
def port() -> FactsPortSetup:
    return FactsPortSetup()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "x" * 60_000])
async def test_a_stranger_learns_nothing(port: FactsPortSetup, path: str, token: str | None) -> None:
    answer = await port.post(QUESTION, path, token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="facts"'
    assert answer.headers["connection"] == "close"
    assert port.anchore.calls == []
    assert port.log.outcomes() == [DENIED]
    if "gatekeeper" in path:
        assert provider_response(answer)["systemError"].startswith(
            ("the bearer token is wrong", "a client certificate")
        )


@pytest.mark.parametrize("header", [f"Basic {TOKEN}", TOKEN, f"Bearer{TOKEN}", f"Bearer  {TOKEN} x", "Bearer \xff"])
async def test_only_a_bearer_token_counts(port: FactsPortSetup, header: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"authorization", header.encode("latin-1"))]
    answer = await port.http.post("/facts", content=b'{"images": ["a"]}', headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("token", [TOKEN, NEXT_TOKEN])
async def test_each_token_of_the_file_is_accepted(port: FactsPortSetup, scheme: str, token: str) -> None:
    headers = {"content-type": "application/json", "authorization": f"{scheme} {token}"}
    assert (await port.http.post("/facts", json=QUESTION, headers=headers)).status_code == 200
    assert port.api.asked == []


async def test_a_token_of_a_service_account_is_accepted(port: FactsPortSetup) -> None:
    port.api.put("good")
    assert [(await port.post(QUESTION, token="good")).status_code for _ in range(3)] == [200] * 3
    assert port.api.asked == ["good"]


async def test_a_token_of_another_account_is_forbidden(port: FactsPortSetup, caplog: pytest.LogCaptureFixture) -> None:
    port.api.put("other", OTHER)
    answers = [await port.post(QUESTION, token="other") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [403] * 3
    assert port.log.outcomes() == [DENIED] * 3
    assert len(warnings(caplog)) == 1
    assert "--facts-user" in warnings(caplog)[0]


async def test_a_token_for_another_audience_is_denied(port: FactsPortSetup) -> None:
    port.api.put("elsewhere", audiences=["https://kubernetes.default.svc"])
    assert (await port.post(QUESTION, token="elsewhere")).status_code == 401


async def test_without_the_api_server_accounts_get_503_and_tokens_of_the_file_are_accepted(
    port: FactsPortSetup,
) -> None:
    port.api.put("good")
    port.api.broken = httpx2.ConnectError("refused")
    answer = await port.post(provider_request([GOOD]), "/facts/gatekeeper", token="good")
    assert answer.status_code == 503
    assert provider_response(answer)["systemError"] == "the token cannot be verified at the moment; ask again"
    assert (await port.post(QUESTION)).status_code == 200
    assert port.log.requests == [(Engine.GATEKEEPER, UNVERIFIED), (Engine.OTHER, ANSWERED)]


async def test_no_token_is_logged_even_if_the_api_server_repeats_it(
    port: FactsPortSetup, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        token = f"a-token-of-kyverno-{number}"
        port.api.broken = httpx2.Response(400, json={"message": f"admission denied the request: {token} is no {token}"})
        assert (await port.post(QUESTION, token=token)).status_code == 503
    (line,) = warnings(caplog)
    assert "admission denied the request: [redacted] is no [redacted]" in line


async def test_the_time_for_an_answer_begins_before_the_token_is_verified(port: FactsPortSetup) -> None:
    left: list[float] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        left.append(scope[DEADLINE].left())
        await send_json(send, 200, b"{}")

    port.api.put("good")
    port.api.held = asyncio.Event()
    accounts = TokenAccess(port.api.source(), AUDIENCE, frozenset({KYVERNO}), port.clock)
    guard = FactsGuard(app, port.log, accounts, clock=port.clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://facts") as client:
        asked = asyncio.create_task(client.post("/facts", headers={"authorization": "Bearer good"}))
        await settled()
        await port.clock.advance(1.5)
        port.api.held.set()
        assert (await asked).status_code == 200
    assert left == [pytest.approx(SECONDS - 1.5)]


async def test_strangers_are_logged_once_in_a_while_without_their_tokens(
    port: FactsPortSetup, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        await port.post(QUESTION, token=f"made-up-{number}")
        await port.post(QUESTION, token=None)
    assert sorted(warnings(caplog)) == [
        "rejected a caller at 127.0.0.1 that asks for facts with a wrong token",
        "rejected a caller at 127.0.0.1 that asks for facts without a certificate or token",
    ]


def test_tokens_are_replaced_and_never_weaker(tmp_path: Path, port: FactsPortSetup) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-sixteen-characters\nthe-next-one-of-sixteen\n")
    watched = watched_facts_token(port.guard, file)
    assert watched.is_ready()
    for weak in (
        "short\n",
        "\n\n",
        "a-token-of-sixteen-characters\n\nthe-next-one-of-sixteen",
        "a token with spaces in it",
    ):
        file.write_text(weak)
        watched.refresh()
        assert watched.is_unusable()
        assert watched.value == ["a-token-of-sixteen-characters", "the-next-one-of-sixteen"]


async def test_a_file_that_is_not_valid_yet_lets_nobody_in(tmp_path: Path, port: FactsPortSetup) -> None:
    empty = FactsPortSetup()
    empty.guard._tokens = ()
    (tmp_path / "token").write_text("")
    watched_facts_token(empty.guard, tmp_path / "token")
    assert (await empty.post(QUESTION, token="x" * 20)).status_code == 401
    with pytest.raises(ConfigurationError, match="cannot be read"):
        watched_facts_token(port.guard, tmp_path / "no" / "token")


@asynccontextmanager
async def served(port: FactsPortSetup, folder: Path, *, required: bool = False) -> AsyncIterator[Running]:
    clients = folder / "clients.crt"
    clients.write_bytes(GATEKEEPER.ca_bundle + OTHER_NAME.ca_bundle)
    files = written(folder, SERVER.certificate, SERVER.key)
    certificate = ServingCertificate(files, ClientCas(clients, "facts_client_ca_file", required=required))
    allowed = ["gatekeeper-webhook-service.gatekeeper-system.svc"]
    names = FactsClients.named(allowed, port.endpoint, clock=port.clock)
    async with running(Listener(port.guard, HOST, 0, certificate, clients=names)) as server:
        yield server


async def asked(server: Running, context: ssl.SSLContext, token: str | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(verify=context) as client:
        url = f"{server.url(scheme='https')}facts/gatekeeper"
        return await client.post(url, json=provider_request([GOOD]), headers=headers)


@pytest.mark.parametrize(
    ("client", "token", "status"),
    [
        (GATEKEEPER, None, 200),
        (GATEKEEPER, "wrong", 200),
        (OTHER_NAME, None, 401),
        (OTHER_NAME, TOKEN, 200),
        (None, None, 401),
        (None, TOKEN, 200),
        (None, "wrong", 401),
    ],
)
async def test_a_certificate_or_a_token_is_enough(
    port: FactsPortSetup, tmp_path: Path, client: CertificatePair | None, token: str | None, status: int
) -> None:
    async with served(port, tmp_path) as server:
        context = presenting(SERVER, client, tmp_path) if client else trusting(SERVER)
        answer = await asked(server, context, token)
    assert answer.status_code == status
    assert bool(provider_response(answer)["items"]) is (status == 200)


async def test_an_old_connection_is_closed_so_that_its_certificate_is_verified_again(
    port: FactsPortSetup, tmp_path: Path
) -> None:
    async with (
        served(port, tmp_path, required=True) as server,
        httpx.AsyncClient(verify=presenting(SERVER, GATEKEEPER, tmp_path)) as client,
    ):
        url = f"{server.url(scheme='https')}facts"
        answers = [await client.post(url, json=QUESTION) for _ in range(2)]
        await port.clock.advance(CONNECTION_SECONDS)
        answers += [await client.post(url, json=QUESTION) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.headers.get("connection") for answer in answers] == [None, None, "close", None]


@pytest.mark.parametrize("required", [True, False])
async def test_a_certificate_of_another_ca_gets_no_connection(
    port: FactsPortSetup, tmp_path: Path, required: bool
) -> None:
    async with served(port, tmp_path, required=required) as server:
        with pytest.raises(httpx.TransportError):
            await asked(server, presenting(SERVER, STRANGER, tmp_path), TOKEN)
    assert port.log.requests == []


async def test_where_certificates_are_the_only_guard_a_client_without_one_gets_no_connection(
    port: FactsPortSetup, tmp_path: Path
) -> None:
    async with served(port, tmp_path, required=True) as server:
        with pytest.raises(httpx.TransportError):
            await asked(server, trusting(SERVER))
        assert (await asked(server, presenting(SERVER, GATEKEEPER, tmp_path))).status_code == 200


async def test_a_certificate_with_another_name_is_logged(
    port: FactsPortSetup, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(port, tmp_path) as server:
        for _ in range(3):
            await asked(server, presenting(SERVER, OTHER_NAME, tmp_path))
    text = "a client that asks for facts has a certificate for another; allow it by --facts-client-name"
    assert warnings(caplog).count(text) == 1


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
