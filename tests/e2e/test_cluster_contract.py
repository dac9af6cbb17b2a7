"""The ports to a cluster, held to their contracts by the real client with a real API server."""

import sys
from typing import Final

import pytest

from e2e.cluster.kubectl import Kubectl
from support.cluster_stages import KUBECONFIG_VARIABLE
from support.paths import ROOT

pytestmark = pytest.mark.cluster

CONTRACTS: Final = ("test_cluster_port.py", "test_namespace_port.py", "test_token_port.py")


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_client_keeps_the_promises_of_the_port(kubectl: Kubectl, contract: str) -> None:
    """Run the contract tests in a process of its own with CONTRACT_KUBECONFIG set."""
    tests = (sys.executable, "-m", "pytest", "-q", "-k", "real", str(ROOT / "tests/contract/adapters" / contract))

    done = kubectl.run("sh", "-c", f'{KUBECONFIG_VARIABLE}="$KUBECONFIG" exec "$@"', "sh", *tests)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
