"""An uninstall leaves no object of any type, whether or not the replicas still respond."""

from collections.abc import Iterator
from typing import Final

import pytest

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.leftovers import await_only, beginning, everything
from e2e.release import NAME, Release
from e2e.things import FAILING, PASSING, thing

pytestmark = pytest.mark.cluster

HERE: Final = "default"
STRICT: Final = {
    "sandbox": {"enabled": True},
    "enableStrictGating": True,
    "networkPolicy": {"enabled": True},
    "pinning": {"enabled": True},
}


@pytest.fixture
def before(kubectl: Kubectl, namespaces: Namespaces, release: Release) -> Iterator[set[str]]:
    """The objects before the installation. The namespace is the administrator's, and stays."""
    yield beginning(kubectl, namespaces(NAME))
    namespaces.remove()
    until(lambda: release.api.call("GET", f"/api/v1/namespaces/{NAME}").code == 404, f"namespace {NAME} is gone")


def test_an_uninstall_leaves_the_cluster_as_it_was(release: Release, kubectl: Kubectl, before: set[str]) -> None:
    release.install(STRICT)
    release.await_judging(HERE)
    assert len(everything(kubectl) - before) > 20

    release.uninstall()

    await_only(kubectl, before)
    assert release.create(HERE, thing("Pod", FAILING), dry_run=True).code == 201


def test_a_release_that_no_longer_responds_can_be_switched_off_and_uninstalled(
    release: Release, kubectl: Kubectl, before: set[str]
) -> None:
    """Follow the order of the documentation, with Fail in effect."""
    release.install(STRICT)
    release.await_judging(HERE)
    assert release.registration()["failurePolicy"] == "Fail"
    kubectl("scale", "-n", NAME, f"deployment/{NAME}", "--replicas=0")
    until(lambda: release.create(HERE, thing("Pod", PASSING), dry_run=True).code == 500, "no replica responds", 180)

    kubectl("delete", "validatingwebhookconfiguration", NAME)
    until(lambda: release.create(HERE, thing("Pod", FAILING), dry_run=True).code == 201, "no webhook is called")
    release.uninstall()

    await_only(kubectl, before)
