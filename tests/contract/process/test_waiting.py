"""The controller as ``serve`` runs it with invalid files at the start: it waits, unready, and reports why."""

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.process import prepared, run
from anchore_admission.settings import Settings
from support.certificates import pair, trusting, written
from support.listening import HOST
from support.ports import free_port

GOOD, OTHER = pair(), pair()
REGISTRATION = """
kind: ValidatingWebhookConfiguration
metadata: {name: gate}
webhooks: [{name: a.b.c, clientConfig: {service: {name: gate, namespace: security}}}]
"""


@dataclass
class Mounted:
    """The mounted files of a container: configuration, certificate, credentials; and the settings that name them."""

    folder: Path
    port: int = field(default_factory=free_port)
    operations_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        account = {"name": "default", "usernameFile": str(self.username), "passwordFile": str(self.password)}
        configuration = {"anchore": {"endpoint": "http://127.0.0.1:1"}, "accounts": [account]}
        (self.folder / "configuration.json").write_text(json.dumps(configuration))
        (self.folder / "registration.yaml").write_text(REGISTRATION)
        self.username.write_text("admin")
        self.password.write_text("secret")
        self.ca_file.write_bytes(GOOD.ca_bundle)
        written(self.folder, GOOD.certificate, GOOD.key)

    @property
    def username(self) -> Path:
        return self.folder / "username"

    @property
    def password(self) -> Path:
        return self.folder / "password"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    def settings(self, **more: Any) -> Settings:
        return Settings.load(
            config=self.folder / "configuration.json",
            host=HOST,
            port=self.port,
            operations_port=self.operations_port,
            docs=False,
            tls_cert_file=self.folder / "tls.crt",
            tls_key_file=self.folder / "tls.key",
            **more,
        )

    def registering(self) -> Settings:
        registration = self.folder / "registration.yaml"
        names = {"lease": "gate", "namespace": "security", "pod_name": "gate-0"}
        return self.settings(registration=registration, ca_file=self.ca_file, **names)


class LogLines(logging.Handler):
    """Wakes the tasks that wait for a log line, from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.lines: list[str] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self._add, record.getMessage())

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self._more.set()

    async def line(self, beginning: str) -> None:
        while not any(line.startswith(beginning) for line in self.lines):
            self._more.clear()
            await self._more.wait()


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path)


@pytest.fixture
async def log(caplog: pytest.LogCaptureFixture) -> AsyncIterator[LogLines]:
    caplog.set_level(logging.INFO, "anchore_admission")
    handler = LogLines()
    logging.getLogger("anchore_admission").addHandler(handler)
    yield handler
    logging.getLogger("anchore_admission").removeHandler(handler)


def unusable(metrics: str) -> set[str]:
    beginning, end = 'anchore_admission_unusable{what="', '"} 1.0'
    lines = metrics.splitlines()
    return {line[len(beginning) : -len(end)] for line in lines if line.startswith(beginning) and line.endswith(end)}


async def test_it_waits_unready_and_comes_up_when_the_files_are_fixed(mounted: Mounted, log: LogLines) -> None:
    written(mounted.folder, GOOD.certificate, OTHER.key)
    mounted.password.write_text("\n")
    ready = prepared(mounted.settings())
    for source in ready.watched:
        source.every = 0.0
    process = asyncio.create_task(run(ready, tick=0.01))
    operations = httpx.AsyncClient(base_url=f"http://{HOST}:{mounted.operations_port}")
    async with operations, httpx.AsyncClient(verify=trusting(GOOD)) as api_server:
        await log.line(f"listening on http://{HOST}:{mounted.operations_port}")
        for problem in (f"{mounted.folder}/tls.key does not belong", f"{mounted.password}: is empty"):
            assert any(problem in line for line in log.lines if line.endswith("; not ready until this is fixed"))
        waiting = await operations.get("/readyz")
        assert waiting.status_code == 503
        assert waiting.json()["conditions"] == {"serving": True, "certificate": False, "credentials": False}
        assert (await operations.get("/livez")).status_code == 200
        assert unusable((await operations.get("/metrics")).text) == {"certificate", "credentials"}
        with pytest.raises(httpx.ConnectError):
            await api_server.post(f"https://localhost:{mounted.port}/validate")

        written(mounted.folder, GOOD.certificate, GOOD.key)
        mounted.password.write_text("secret")
        await log.line("serving a certificate that is valid until ")
        await log.line("credentials in use: ")
        assert (await operations.get("/readyz")).json()["ready"] is True
        # The thread that reads the files writes the line just before it changes the metric.
        while unusable((await operations.get("/metrics")).text):
            pass
        assert (await api_server.post(f"https://localhost:{mounted.port}/validate")).status_code == 415
    signal.raise_signal(signal.SIGTERM)
    await process


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "username", "password", "ca.crt"])
def test_a_file_that_is_not_there_is_not_waited_for(name: str, mounted: Mounted) -> None:
    (mounted.folder / name).unlink()
    with pytest.raises(ConfigurationError, match=f"{name}(?s:.)*cannot be read: No such file or directory"):
        prepared(mounted.registering())


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff", GOOD.key])
def test_an_invalid_ca_bundle_is_waited_for(content: bytes, mounted: Mounted) -> None:
    mounted.ca_file.write_bytes(content)
    text = prepared(mounted.registering()).controller.telemetry.exposition(None)[0].decode()
    assert unusable(text) == {"ca_bundle"}


def test_valid_files_are_ready(mounted: Mounted) -> None:
    process = prepared(mounted.registering())
    assert unusable(process.controller.telemetry.exposition(None)[0].decode()) == set()
    assert process.readiness.conditions() == {"serving": False, "certificate": True, "credentials": True}
