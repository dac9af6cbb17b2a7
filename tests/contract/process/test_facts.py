"""The controller as ``serve`` runs it with a port for facts: all three guards, and nothing else on that port."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from anchore_admission.errors import ConfigurationError
from anchore_admission.process import prepared, run
from anchore_admission.settings import Settings
from anchore_admission.web.body import send_json
from anchore_admission.web.server import Listener
from support.certificates import client_pair, pair, presenting, trusting, written
from support.facts_port import TOKEN, provider_request, provider_response
from support.listening import HOST, running
from support.ports import free_port
from support.sandbox_server import sandbox_served
from support.token_api import AUDIENCE, KYVERNO, TokenApi

PAIR, CLIENTS, GATEKEEPER = pair(), pair(), client_pair("gatekeeper")
IMAGE, PENDING = "nginx:1.25", "postgres:16"


@dataclass
class Replica:
    """A running controller."""

    folder: Path
    port: int
    operations_port: int
    facts_port: int

    async def ask(self, *, token: str | None = None, certificate: bool = False, path: str = "/facts") -> httpx.Response:
        context = presenting(PAIR, GATEKEEPER, self.folder / "gatekeeper") if certificate else trusting(PAIR)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        body = provider_request([IMAGE, PENDING]) if "gatekeeper" in path else {"images": [IMAGE]}
        async with httpx.AsyncClient(verify=context) as client:
            return await client.post(f"https://localhost:{self.facts_port}{path}", json=body, headers=headers)

    async def metrics(self) -> str:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://{HOST}:{self.operations_port}/metrics")).text


def settings(folder: Path, anchore: str, replica: Replica, **more: Any) -> Settings:
    configuration, clients, token, own = (folder / name for name in ("c.json", "clients.crt", "token", "own.crt"))
    configuration.write_text(json.dumps({"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict"}}))
    clients.write_bytes(GATEKEEPER.ca_bundle)
    own.write_bytes(CLIENTS.ca_bundle)
    token.write_text(TOKEN)
    (folder / "gatekeeper").mkdir()
    certificate, key = written(folder, PAIR.certificate, PAIR.key)
    return Settings.load(
        config=configuration,
        host=HOST,
        port=replica.port,
        operations_port=replica.operations_port,
        tls_cert_file=certificate,
        tls_key_file=key,
        client_ca_file=own,
        client_names=["kube-apiserver"],
        facts_port=replica.facts_port,
        **{
            "facts_client_ca_file": clients,
            "facts_client_names": ["gatekeeper"],
            "facts_token_file": token,
            "facts_audience": AUDIENCE,
            "facts_users": [KYVERNO],
            **more,
        },
    )


@asynccontextmanager
async def cluster(folder: Path, patch: pytest.MonkeyPatch, api: TokenApi) -> AsyncIterator[None]:
    """Serve an API that verifies tokens, and let ``KUBECONFIG`` name it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        assert request.headers["authorization"] == "Bearer own"
        status, document = api.answer(request.method, request.url.path, await request.json())
        await send_json(send, status, json.dumps(document).encode())

    async with running(Listener(answer, HOST, 0)) as server:
        kubeconfig = {
            "clusters": [{"name": "c", "cluster": {"server": server.url()}}],
            "users": [{"name": "u", "user": {"token": "own"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
        patch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
        yield


@asynccontextmanager
async def replica(folder: Path, patch: pytest.MonkeyPatch, api: TokenApi) -> AsyncIterator[Replica]:
    patch.setenv("ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME", "admin")
    patch.setenv("ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD", "foobar")
    found = Replica(folder, free_port(), free_port(), free_port())
    with sandbox_served() as anchore:
        async with cluster(folder, patch, api):
            process = asyncio.create_task(run(prepared(settings(folder, anchore, found))))
            async with asyncio.timeout(50):
                while True:
                    assert not process.done(), process.exception()
                    try:
                        await found.metrics()
                        break
                    except httpx.ConnectError:
                        await asyncio.sleep(0)  # the port is not bound yet
            try:
                yield found
            finally:
                signal.raise_signal(signal.SIGTERM)
                await process


async def test_each_guard_lets_its_callers_in_and_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = TokenApi()
    api.put("kyverno")
    async with replica(tmp_path, monkeypatch, api) as controller:
        answers = [
            await controller.ask(token=TOKEN),
            await controller.ask(token="kyverno"),
            await controller.ask(certificate=True),
        ]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert [answer.json()["images"][0]["reference"] for answer in answers] == [IMAGE] * 3
        gatekeeper = await controller.ask(certificate=True, path="/facts/gatekeeper")
        assert provider_response(gatekeeper)["systemError"].startswith("no facts yet about 1 of 2 images")
        assert (await controller.ask(token="wrong")).status_code == 401
        assert (await controller.ask()).status_code == 401
        for path in ("/validate", "/mutate", "/review", "/metrics", "/forget", "/docs"):
            assert (await controller.ask(token=TOKEN, path=path)).status_code == 404
        webhook = replace(controller, facts_port=controller.port)
        with pytest.raises(httpx.TransportError):  # it wants another certificate
            await webhook.ask(certificate=True)
        metrics = await controller.metrics()
    for engine, outcome, count in (("other", "answered", 3), ("gatekeeper", "not_yet", 1), ("other", "denied", 2)):
        assert f'anchore_admission_facts_requests_total{{engine="{engine}",outcome="{outcome}"}} {count}.0' in metrics
    assert 'operation="submit"' not in metrics


def test_tokens_of_accounts_need_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME", "admin")
    monkeypatch.setenv("ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD", "foobar")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    given = settings(tmp_path, "http://127.0.0.1:1", Replica(tmp_path, 1, 2, 3))
    with pytest.raises(ConfigurationError, match=r"--facts-audience.*no access to a Kubernetes API"):
        prepared(given)
