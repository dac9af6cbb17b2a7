"""The sandbox as a process beside the API server: a release that comes and goes does not touch it."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from e2e.cluster.daemon import Daemon
from e2e.cluster.places import LOGS, MAIN
from e2e.cluster.waiting import until

SANDBOX: Final = "http://127.0.0.1:8228"
ANCHORE: Final = f"http://{MAIN}:8228"
"""The same, for Pods."""
_COMMAND: Final = (sys.executable, "-m", "anchore_admission", "sandbox", "--host=0.0.0.0")
_LOG: Final = LOGS / "sandbox.log"


def _environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANCHORE_ADMISSION_")}
    return clean | {"PYTHONWARNINGS": "error"}


@contextlib.contextmanager
def sandbox(seed: Path | None = None) -> Iterator[httpx.Client]:
    """Anchore's API and the sandbox's own controls; by default with the built-in seed."""
    seeded = [] if seed is None else [f"--seed={seed}"]
    daemon = Daemon("sandbox", [*_COMMAND, *seeded], _environment())
    daemon.start()
    with httpx.Client(base_url=SANDBOX, auth=("admin", "foobar"), trust_env=False) as client:
        try:
            until(lambda: daemon.require() and client.get("/health").is_success, "the sandbox answers")
            yield client
        finally:
            daemon.stop()


def asked(path: str) -> int:
    """Return how many calls with this text in method, path or query every sandbox of this cluster has answered."""
    lines = (line for line in _LOG.read_text().splitlines() if line.startswith("{"))
    return sum(path in json.loads(line)["message"] for line in lines)
