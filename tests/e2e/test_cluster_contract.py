"""The port to a cluster, held to its contract by the real client with a real API server."""

import sys
from typing import Final

import pytest

from e2e.cluster.kubectl import Kubectl
from support.cluster_stages import KUBECONFIG_VARIABLE
from support.paths import ROOT

pytestmark = pytest.mark.cluster

CONTRACT: Final = ROOT / "tests/contract/adapters/test_cluster_port.py"


def test_the_client_keeps_the_promises_of_the_port(kubectl: Kubectl) -> None:
    """Run the contract tests in a process of its own with CONTRACT_KUBECONFIG set."""
    tests = (sys.executable, "-m", "pytest", "-q", "-k", "real", str(CONTRACT))

    done = kubectl.run("sh", "-c", f'{KUBECONFIG_VARIABLE}="$KUBECONFIG" exec "$@"', "sh", *tests)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
