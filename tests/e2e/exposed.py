"""A controller outside the cluster, protected from strangers, registered with the output of `webhook`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from anchore_admission.certificates import throw_away_pair
from e2e.cluster.daemon import Daemon
from e2e.cluster.places import KNOCKED_AT, LOGS
from e2e.cluster.waiting import until

NAME: Final = "laptop"
WEBHOOK: Final = f"{NAME}.admission.anchore.io"
PORT: Final = KNOCKED_AT.rpartition(":")[2]
_OPERATIONS_PORT, _SANDBOX_PORT = 8090, 8238
"""Ports that differ from the defaults, which other tests use."""
_SANDBOX: Final = f"http://127.0.0.1:{_SANDBOX_PORT}"
_PROGRAM: Final = (sys.executable, "-m", "anchore_admission")
_ENVIRONMENT: Final = {
    "PATH": os.environ["PATH"],
    "PYTHONWARNINGS": "error",
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin",
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "foobar",
}


@dataclass(frozen=True, slots=True)
class Exposed:
    ca_file: Path
    """The CA bundle to trust, as a PEM file."""

    def printed(self, url: str, *options: str) -> str:
        """Return the registration that the command prints for kubectl."""
        command = [*_PROGRAM, "webhook", "--url", url, "--ca-file", str(self.ca_file), "--name", NAME, *options]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=_ENVIRONMENT).stdout  # noqa: S603 - our own program

    def said(self) -> str:
        return (LOGS / "exposed.log").read_text()


@contextmanager
def exposed(folder: Path, *options: str) -> Iterator[Exposed]:
    """Run a controller in strict mode; ``options`` are the options of ``serve`` that restrict clients."""
    pair = throw_away_pair(["127.0.0.1", "localhost"])
    contents = {"ca.crt": pair.ca_bundle, "tls.crt": pair.certificate, "tls.key": pair.key}
    configuration = {"anchore": {"endpoint": _SANDBOX}, "defaults": {"mode": "strict"}}
    for name, content in {**contents, "configuration.yaml": json.dumps(configuration).encode()}.items():
        (folder / name).write_bytes(content)
    files = [f"--config={folder}/configuration.yaml", f"--tls-cert-file={folder}/tls.crt"]
    addresses = ["--host=127.0.0.1", f"--port={PORT}", f"--operations-port={_OPERATIONS_PORT}"]
    serve = ["serve", *files, f"--tls-key-file={folder}/tls.key", *addresses, "--no-docs", *options]
    with (
        _running(
            "exposed-sandbox", ["sandbox", f"--port={_SANDBOX_PORT}", "--log-level=warning"], f"{_SANDBOX}/health"
        ),
        _running("exposed", serve, f"http://127.0.0.1:{_OPERATIONS_PORT}/readyz"),
    ):
        yield Exposed(folder / "ca.crt")


@contextmanager
def _running(name: str, arguments: list[str], health: str) -> Iterator[None]:
    daemon = Daemon(name, [*_PROGRAM, *arguments], _ENVIRONMENT)
    daemon.start()
    try:
        until(lambda: daemon.require() and httpx.get(health, trust_env=False).is_success, f"{name} answers")
        yield
    finally:
        daemon.stop()
