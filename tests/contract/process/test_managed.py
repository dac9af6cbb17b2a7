"""The controller as ``serve`` runs it with a managed certificate, over an API server in memory and real connections."""

import asyncio
import base64
import json
import logging
import re
import signal
import ssl
import time
from pathlib import Path

import httpx
import pytest

from anchore_admission.certificates import SelfSigned
from anchore_admission.core.webhook.entry import WebhookOptions, webhook_configuration
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.process import prepared, run
from anchore_admission.services.cluster.certificates import CertificatePlan, ManagedCertificates
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ServingCertificate
from support.cluster import InMemoryCluster
from support.listening import HOST, quick, running
from support.managed import LEASE, SECRET, WEBHOOKS, cluster, settings
from support.ports import free_port

DAY = 86400.0


async def test_it_fills_the_secret_answers_registers_and_frees_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, operations_port = free_port(), free_port()
    async with cluster(tmp_path, monkeypatch) as api, httpx.AsyncClient() as client:
        process = asyncio.create_task(run(prepared(settings(tmp_path, port, operations_port))))
        await asyncio.wait([process, waiting := asyncio.create_task(api.applied.wait())], return_when="FIRST_COMPLETED")
        assert waiting.done()
        assert api.objects[LEASE]["spec"]["holderIdentity"] == "gate-0"
        (entry,) = api.objects[WEBHOOKS]["webhooks"]
        bundle = base64.b64decode(entry["clientConfig"]["caBundle"])
        assert bundle == base64.b64decode(api.objects[SECRET]["data"]["ca.crt"])

        ready = await client.get(f"http://{HOST}:{operations_port}/readyz")
        assert ready.json() == {
            "ready": True,
            "conditions": {"serving": True, "certificate": True, "credentials": True},
        }
        metrics = (await client.get(f"http://{HOST}:{operations_port}/metrics")).text
        assert "\nanchore_admission_leader 1.0\n" in metrics
        assert "\nanchore_admission_certificate_expiry_timestamp_seconds 1" in metrics
        async with httpx.AsyncClient(verify=ssl.create_default_context(cadata=bundle.decode())) as trusting:
            assert (await trusting.post(f"https://localhost:{port}/validate")).status_code == 415

        signal.raise_signal(signal.SIGTERM)
        await process
        assert api.objects[LEASE]["spec"]["holderIdentity"] == ""


async def test_connections_and_handshakes_survive_a_renewal() -> None:
    serving, memory, trusted = ServingCertificate(), InMemoryCluster(), set[bytes]()
    now = [time.time() - 61 * DAY]  # so that both certificates are valid by the clock of this machine
    plan = CertificatePlan(["localhost"], 90 * DAY)

    def present(pair: CertificatePair) -> None:
        serving.present(pair)

    certificates = ManagedCertificates(
        memory, SelfSigned(), plan, present=present, is_trusted=trusted.__contains__, now=lambda: now[0]
    )

    def client() -> httpx.AsyncClient:
        context = ssl.create_default_context(cadata=(certificates.ca_bundle or b"").decode())
        return httpx.AsyncClient(verify=context)

    async def step() -> None:
        await certificates.step(leads=True, leader="self")

    await step()
    async with running(Listener(quick, HOST, 0, serving)) as server, client() as old:
        url = server.url(scheme="https", host="localhost")
        assert (await old.get(url)).text == "ok"
        now[0] += 60 * DAY
        await step()
        async with client() as both:
            assert (await both.get(url)).text == "ok"
        trusted.add(certificates.ca_bundle or b"")
        await step()
        assert (await old.get(url)).text == "ok"  # its connection goes on
        async with client() as both:
            assert (await both.get(url)).text == "ok"


def test_it_exposes_the_running_configuration_and_that_anchore_is_judged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission")
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"ANCHORE_ADMISSION_ACCOUNT_DEFAULT_{name}", "x")
    given = settings(tmp_path, 8443, 8080)
    written = {"anchore": {"endpoint": "http://api.default.svc:8228"}, "defaults": {"mode": "strict"}}
    (tmp_path / "configuration.json").write_text(json.dumps(written))
    text = prepared(given).controller.telemetry.exposition(None)[0].decode()
    (digest,) = re.findall(r'anchore_admission_configuration_info\{hash="([0-9a-f]{12})"\} 1.0', text)
    assert f"configuration {digest}" in caplog.messages
    assert 'anchore_admission_anchore_judged{namespace="default"} 1.0' in text
    assert "Anchore's namespace default is judged: once Anchore is down, its own Pods are denied there" in caplog.text

    caplog.clear()
    edited = (tmp_path / "registration.json").read_text().replace("gate.admission", "other.admission")
    (tmp_path / "registration.json").write_text(edited)
    prepared(given)
    assert f"configuration {digest}" not in caplog.messages


@pytest.mark.parametrize(
    ("requests", "conditions"),
    [(["images"], ["spec-changes", "not-another-release"]), (["all"], ["not-another-release"])],
)
async def test_it_registers_the_webhook_for_the_updates_that_opa_is_to_see(
    requests: list[str],
    conditions: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OPA is not there: its decision is missing, and the webhook is registered all the same."""
    caplog.set_level(logging.INFO, "anchore_admission")
    port = free_port()
    given = settings(tmp_path, port, free_port())
    configuration = json.loads((tmp_path / "configuration.json").read_text())
    opa = {"url": "http://127.0.0.1:1", "requests": requests}
    (tmp_path / "configuration.json").write_text(
        json.dumps({**configuration, "defaults": {"mode": "passive"}, "opa": opa})
    )
    options = WebhookOptions("gate", {"url": f"https://localhost:{port}/validate"})
    (tmp_path / "registration.json").write_text(json.dumps(webhook_configuration(options)))
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"ANCHORE_ADMISSION_ACCOUNT_DEFAULT_{name}", "x")
    async with cluster(tmp_path, monkeypatch) as api:
        process = asyncio.create_task(run(prepared(given)))
        await asyncio.wait([process, waiting := asyncio.create_task(api.applied.wait())], return_when="FIRST_COMPLETED")
        assert waiting.done()
        (entry,) = api.objects[WEBHOOKS]["webhooks"]
        signal.raise_signal(signal.SIGTERM)
        await process
    assert [condition["name"] for condition in entry["matchConditions"]] == conditions
    said = "ValidatingWebhookConfiguration gate is registered without the match condition spec-changes"
    assert (f"{said}, because of opa.requests" in caplog.messages) == (requests == ["all"])


@pytest.mark.parametrize(
    ("registers", "logged"),
    [
        (True, "match conditions may keep updates from OPA that opa.requests asks for: only-images; remove them"),
        (False, "opa.requests asks for every update: register the webhook without the match condition spec-changes"),
    ],
)
def test_it_says_what_may_keep_updates_from_opa(
    registers: bool, logged: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission")
    given = settings(tmp_path, 8443, 8080)
    configuration = json.loads((tmp_path / "configuration.json").read_text())
    opa = {"url": "http://127.0.0.1:1", "requests": ["all"]}
    (tmp_path / "configuration.json").write_text(json.dumps({**configuration, "opa": opa}))
    registration = json.loads((tmp_path / "registration.json").read_text())
    condition = {"name": "only-images", "expression": "object.spec != oldObject.spec"}
    registration["webhooks"][0]["matchConditions"] = [condition]
    (tmp_path / "registration.json").write_text(json.dumps(registration))
    prepared(given if registers else given.model_copy(update={"registration": None}))
    (said,) = [it for it in caplog.messages if "match condition" in it]
    assert logged in said
