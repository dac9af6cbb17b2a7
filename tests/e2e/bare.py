"""The smallest webhook, as a process beside the API server."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from anchore_admission.certificates import throw_away_pair
from e2e.cluster.daemon import Daemon
from e2e.things import Json
from support.paths import ROOT

_PROGRAM: Final = ROOT / "tests/e2e/bare_webhook.py"


@contextmanager
def bare_webhook(folder: Path, port: int, operation: Json | None = None) -> Iterator[tuple[Daemon, Json]]:
    """A webhook that admits everything, with its ``clientConfig``; ``operation`` is what it patches."""
    pair = throw_away_pair(["127.0.0.1"])
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    command = [sys.executable, _PROGRAM, port, folder / "tls.crt", folder / "tls.key"]
    command += [] if operation is None else [json.dumps(operation)]
    daemon = Daemon(f"bare-webhook-{port}", command, {"PATH": os.environ["PATH"]})
    daemon.start()
    try:
        yield daemon, {"url": f"https://127.0.0.1:{port}/", "caBundle": base64.b64encode(pair.ca_bundle).decode()}
    finally:
        daemon.stop()
