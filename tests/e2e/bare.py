"""The smallest webhook, as a process beside the API server."""

import base64
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
def bare_webhook(folder: Path, port: int, *arguments: str) -> Iterator[tuple[Daemon, Json]]:
    """A webhook that admits everything, with its ``clientConfig``; an image as argument is that of a sidecar to add."""
    pair = throw_away_pair(["127.0.0.1"])
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    command = [sys.executable, _PROGRAM, port, folder / "tls.crt", folder / "tls.key", *arguments]
    daemon = Daemon(f"bare-webhook-{port}", command, {"PATH": os.environ["PATH"]})
    daemon.start()
    try:
        yield daemon, {"url": f"https://127.0.0.1:{port}/", "caBundle": base64.b64encode(pair.ca_bundle).decode()}
    finally:
        daemon.stop()
