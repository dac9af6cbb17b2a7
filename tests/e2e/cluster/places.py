"""Folders, names and addresses of the test cluster."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CACHES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE: Final = Path(os.environ.get("E2E_CACHE") or _CACHES / "anchore-admission-e2e").absolute()
"""Outside the checkout; worth keeping between runs, except for the next three."""
STATE: Final = CACHE / "cluster"
"""State of the running cluster."""
LOGS: Final = CACHE / "logs"
"""Logs of the last cluster, kept after it is removed."""
LOCK: Final = CACHE / "lock"
"""Lock held by the process that uses the cluster; there is one cluster per cache."""

PROGRAMS: Final = CACHE / "programs"
IMAGES: Final = CACHE / "images"
PACKAGES: Final = CACHE / "packages"
ROOT: Final = PACKAGES / "root"
"""Debian packages, unpacked here and not installed."""
TOOLS: Final = PACKAGES / "tools"
"""Programs of Debian packages that need nothing else of them."""

NAME: Final = f"e2e-{hashlib.sha256(os.fsencode(CACHE)).hexdigest()[:8]}"
"""Name of the network namespace and of the control group; clusters of several caches may run at once."""
KUBECONFIG: Final = STATE / "pki/admin.kubeconfig"
AUDIT_LOG: Final = LOGS / "audit.log"
API_SERVER: Final = "https://127.0.0.1:6443"
KNOCKED_AT: Final = "127.0.0.1:8453"
"""To a webhook of this address, and to no other, the API server presents its certificate for KNOCKS_AS."""
KNOCKS_AS: Final = "e2e-api-server"
SERVICES: Final = "10.96.0.0/16"
DNS_ADDRESS: Final = "10.96.0.10"
PODS: Final = "10.244.0.0/16"


@dataclass(frozen=True, slots=True)
class Place:
    """A node: its name, its addresses, its folder."""

    name: str
    address: str
    pods: str
    health_port: int

    @property
    def folder(self) -> Path:
        return STATE / self.name

    @property
    def socket(self) -> Path:
        """Return the socket of containerd."""
        return self.folder / "containerd.sock"


NODES: Final = (
    Place("node1", "10.88.0.1", "10.244.0.0/24", 10248),
    Place("node2", "10.88.0.2", "10.244.1.0/24", 10348),
)
MAIN: Final = NODES[0].address
"""The address of the control plane."""
REGISTRY: Final = "images.e2e.example"
"""Name of the registry in images; the nodes pull them from its address."""
REGISTRY_ADDRESS: Final = f"{MAIN}:5000"
