"""What an uninstall leaves: nothing, of whatever type."""

import pytest

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, Release
from e2e.things import FAILING, thing

pytestmark = pytest.mark.cluster

PASSING_BY = {"events", "events.events.k8s.io"}
"""Told by Kubernetes about what happened; they expire."""
NAMES = '{{range .items}}{{.kind}} {{.metadata.namespace}}/{{.metadata.name}}{{"\\n"}}{{end}}'


def everything(kubectl: Kubectl) -> set[str]:
    """Every object of every type that can be listed."""
    types = set(kubectl("api-resources", "--verbs=list", "-o", "name").split()) - PASSING_BY
    return set(kubectl("get", ",".join(sorted(types)), "-A", "-o", f"go-template={NAMES}").splitlines())


def test_an_uninstall_leaves_the_cluster_as_it_was(release: Release, kubectl: Kubectl, namespaces: Namespaces) -> None:
    """The namespace is the administrator's."""
    namespaces(NAME)
    until(lambda: f"ConfigMap {NAME}/kube-root-ca.crt" in everything(kubectl), "the namespace is complete")
    before = everything(kubectl)

    release.install({"sandbox": {"enabled": True}, "enableStrictGating": True, "networkPolicy": {"enabled": True}})
    release.await_judging("default")
    assert len(everything(kubectl) - before) > 20

    release.uninstall()

    def nothing_left() -> bool:
        left = everything(kubectl) - before
        assert not left
        return True

    until(nothing_left, "the cluster is as it was", 90, every=1)
    assert release.create("default", thing("Pod", FAILING), dry_run=True).code == 201
