"""A real Redis or Valkey as a process beside the API server, with TLS and the user that the documentation describes."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from anchore_admission.certificates import throw_away_pair
from e2e.cluster.daemon import Daemon
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.places import MAIN
from e2e.cluster.waiting import until
from e2e.release import NAME
from e2e.things import Json
from support.paths import ROOT
from support.stores import PROGRAM, WHY_SKIPPED

_PORT: Final = 6379
_PASSWORD: Final = "of-the-store"
_DOCUMENTED: Final = "   user admission on >PASSWORD "
VALUES: Final[Json] = {
    "sharedStore": {
        "url": f"rediss://{MAIN}:{_PORT}",
        "seal": {"existingSecret": "shared-store-seal"},
        "credentials": {"existingSecret": "shared-store"},
        "caConfigMap": "store-ca",
        "timeout": "1s",
    }
}
"""A patient time limit: what is shared must not depend on how busy the machine is."""


class Store:
    """The server. It keeps nothing on disk, so that one that is started again is empty."""

    def __init__(self, folder: Path) -> None:
        pair = throw_away_pair([MAIN])
        for name, content in {"ca.crt": pair.ca_bundle, "tls.crt": pair.certificate, "tls.key": pair.key}.items():
            (folder / name).write_bytes(content)
        self.ca = pair.ca_bundle.decode()
        listen = ("--bind", MAIN, "--port", "0", "--tls-port", str(_PORT))
        tls = ("--tls-cert-file", folder / "tls.crt", "--tls-key-file", folder / "tls.key", "--tls-auth-clients", "no")
        (folder / "store.conf").write_text(f"{_user()}\nuser default off\n")
        options = ("--tls-ca-cert-file", folder / "ca.crt", "--save", "", "--dir", folder)
        self._daemon = Daemon("store", [PROGRAM, folder / "store.conf", *listen, *tls, *options])

    def start(self) -> None:
        self._daemon.start()
        until(lambda: self._daemon.require() and _accepts(), "the store accepts connections", 30)

    def kill(self) -> None:
        self._daemon.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it accept connections, and respond to nothing."""
        self._daemon.signal(signal.SIGSTOP)


def _accepts() -> bool:
    socket.create_connection((MAIN, _PORT), timeout=5).close()
    return True


def _user() -> str:
    """Return the user as the documentation says to create it."""
    lines = (ROOT / "docs/shared-store.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(_DOCUMENTED))
    return line.strip().replace("PASSWORD", _PASSWORD)


@contextlib.contextmanager
def shared(folder: Path, kubectl: Kubectl) -> Iterator[Store]:
    """A server, with the Secrets and the ConfigMap that the release needs, in a namespace that is made for both."""
    if PROGRAM is None:
        pytest.skip(WHY_SKIPPED)
    store = Store(folder)
    kubectl("create", "namespace", NAME)
    kubectl.apply(
        _object("Secret", "shared-store-seal", stringData={"current": "0123456789abcdef" * 4}),
        _object("Secret", "shared-store", stringData={"username": "admission", "password": _PASSWORD}),
        _object("ConfigMap", "store-ca", data={"ca.crt": store.ca}),
    )
    store.start()
    try:
        yield store
    finally:
        store.kill()


def _object(kind: str, name: str, **content: Json) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAME}, **content}
