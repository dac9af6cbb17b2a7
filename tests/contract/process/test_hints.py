"""The controller as ``serve`` runs it with both sources of hints."""

import asyncio
import json
import signal
from pathlib import Path

import httpx
import pytest

from anchore_admission.process import prepared, run
from anchore_admission.settings import Settings
from support.certificates import pair, trusting, written
from support.listening import HOST
from support.ports import free_port
from support.sandbox_server import sandbox_served

PAIR, CLIENTS = pair(), pair()
SECRET = "s3cret-of-notifications"
NOTIFICATION = {"id": "1", "type": "tag_update", "resource": {"type": "image_tag", "id": "docker.io/library/nginx:1"}}
READ = 'anchore_admission_anchore_calls_total{account="default",operation="events",outcome="ok"}'


async def test_notifications_need_no_client_certificate_and_reach_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, operations_port, notifications_port = free_port(), free_port(), free_port()
    monkeypatch.setenv("ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME", "admin")
    monkeypatch.setenv("ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD", "foobar")
    configuration, clients, secret = (tmp_path / name for name in ("configuration.json", "clients.crt", "secret"))
    clients.write_bytes(CLIENTS.ca_bundle)
    secret.write_text(f"{SECRET}\n")
    certificate, key = written(tmp_path, PAIR.certificate, PAIR.key)
    with sandbox_served() as anchore:
        given = {"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict"}, "hints": {"events": "5s"}}
        configuration.write_text(json.dumps(given))
        settings = Settings.load(
            config=configuration,
            host=HOST,
            port=port,
            operations_port=operations_port,
            tls_cert_file=certificate,
            tls_key_file=key,
            client_ca_file=clients,
            client_names=["kube-apiserver"],
            notifications_port=notifications_port,
            notifications_secret_file=secret,
        )
        process = asyncio.create_task(run(prepared(settings)))
        metrics = ""
        async with httpx.AsyncClient() as client, asyncio.timeout(60):
            while READ not in metrics:
                assert not process.done(), process.exception()
                try:
                    metrics = (await client.get(f"http://{HOST}:{operations_port}/metrics")).text
                except httpx.ConnectError:
                    await asyncio.sleep(0)  # the port is not bound yet
            async with httpx.AsyncClient(verify=trusting(PAIR)) as anchore_itself:
                url = f"https://localhost:{notifications_port}"
                answer = await anchore_itself.post(f"{url}/notifications/{SECRET}", json=NOTIFICATION)
                assert (answer.status_code, answer.json()) == (200, {})
                for path in ("/notifications", "/validate", "/metrics", "/readyz", "/"):
                    assert (await anchore_itself.post(f"{url}{path}", json=NOTIFICATION)).status_code == 401
                with pytest.raises(httpx.TransportError):
                    await anchore_itself.post(f"https://localhost:{port}/notifications/{SECRET}", json=NOTIFICATION)
            elsewhere = f"http://{HOST}:{operations_port}/notifications/{SECRET}"
            assert (await client.post(elsewhere, json=NOTIFICATION)).status_code == 404
            metrics = (await client.get(f"http://{HOST}:{operations_port}/metrics")).text
        signal.raise_signal(signal.SIGTERM)
        await process
    assert 'anchore_admission_hints_total{source="notifications"} 1.0' in metrics
    assert 'anchore_admission_notifications_total{outcome="hint"} 1.0' in metrics
    assert 'anchore_admission_notifications_total{outcome="denied"} 5.0' in metrics
