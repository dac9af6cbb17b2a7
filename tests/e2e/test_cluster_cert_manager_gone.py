"""Uninstalling a release with certificates of a real cert-manager leaves nothing."""

import pytest

from e2e.cluster.kubectl import Kubectl
from e2e.conftest import Namespaces
from e2e.issued import remove_secret
from e2e.leftovers import await_only, beginning
from e2e.release import NAME, Release
from e2e.things import Json

pytestmark = pytest.mark.cluster


def values(registration: str) -> Json:
    return {
        "sandbox": {"enabled": True},
        "certificates": {"mode": "certManager"},
        "webhook": {"registration": registration, "excludedNamespaces": ["cert-manager"]},
    }


@pytest.fixture(scope="module")
def before(cert_manager: None, kubectl: Kubectl, namespaces: Namespaces) -> set[str]:
    return beginning(kubectl, namespaces(NAME))


@pytest.mark.parametrize("registration", ["controller", "chart"])
def test_an_uninstall_leaves_the_cluster_as_it_was(
    before: set[str], release: Release, kubectl: Kubectl, registration: str
) -> None:
    release.install(values(registration))

    release.uninstall()

    await_only(kubectl, before)


def test_a_secret_that_cert_manager_recreated_is_removed_too(
    before: set[str], release: Release, kubectl: Kubectl
) -> None:
    """Helm leaves alone what does not name its release, and then refuses to install over it."""
    release.install(values("controller"))
    remove_secret(release.api)

    release.uninstall()

    await_only(kubectl, before)
