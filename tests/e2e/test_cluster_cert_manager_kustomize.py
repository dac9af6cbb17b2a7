"""The overlay that leaves certificates and the CA bundle to cert-manager, applied with a real one."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.issued import content, in_use, publisher, remove_secret
from e2e.leftovers import await_only, beginning
from e2e.processes import ANCHORE, sandbox
from e2e.release import CHART, NAME, Release
from e2e.things import FAILING, PASSING, Json, thing

pytestmark = pytest.mark.cluster

KUSTOMIZE = CHART.parents[1] / "kustomize"
CREDENTIALS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "anchore-credentials", "namespace": NAME},
    "stringData": {"username": "admin", "password": "foobar"},
}


def own(image: str) -> Json:
    """Write an overlay as the README of kustomize describes: our image, our Anchore, and strict mode."""
    repository, _, tag = image.rpartition(":")
    strict = [
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
        {"op": "add", "path": "/webhooks/0/namespaceSelector/matchExpressions/0/values/-", "value": "cert-manager"},
    ]
    files = {"name": f"{NAME}-files", "behavior": "merge", "files": ["configuration.yaml"]}
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAME,
        "resources": ["../overlays/cert-manager"],
        "images": [{"name": f"localhost/{NAME}", "newName": repository, "newTag": tag}],
        "configMapGenerator": [files],
        "patches": [{"target": {"kind": "ValidatingWebhookConfiguration"}, "patch": yaml.safe_dump(strict)}],
    }


@pytest.fixture
def overlay(release: Release, tmp_path: Path) -> str:
    tree = tmp_path / "kustomize"
    shutil.copytree(KUSTOMIZE, tree)
    configuration = yaml.safe_load((tree / "base/configuration.yaml").read_text())
    configuration |= {"anchore": {"endpoint": ANCHORE}, "defaults": {"mode": "strict"}}
    (tree / "mine").mkdir()
    (tree / "mine/configuration.yaml").write_text(yaml.safe_dump(configuration))
    (tree / "mine/kustomization.yaml").write_text(yaml.safe_dump(own(release.image)))
    return os.fspath(tree / "mine")


@pytest.fixture
def before(cert_manager: None, kubectl: Kubectl, namespaces: Namespaces) -> Iterator[set[str]]:
    namespaces("judged-kustomize")
    found = beginning(kubectl, namespaces(NAME))
    kubectl.apply(CREDENTIALS)
    with sandbox():
        yield found | {f"Secret {NAME}/anchore-credentials"}


def test_the_overlay_serves_the_issued_certificate_and_is_removed_without_a_trace(
    before: set[str], overlay: str, release: Release, kubectl: Kubectl
) -> None:
    apply(kubectl, overlay)
    release.await_judging("judged-kustomize")
    assert release.create("judged-kustomize", thing("Pod", PASSING), dry_run=True).code == 201
    assert publisher(release.api) == "cainjector"
    assert release.presented() == {in_use(release.api)}

    remove_secret(release.api)
    issued = content(release.api)
    kubectl("rollout", "restart", "-n", NAME, f"deployment/{NAME}")
    apply(kubectl, overlay)
    until(release.ready, "every replica is new", 180)
    assert content(release.api) == issued
    assert release.presented() == {in_use(release.api)}
    assert release.registration()["clientConfig"]["caBundle"] == issued["ca.crt"]
    assert release.create("judged-kustomize", thing("Pod", FAILING), dry_run=True).code == 403

    kubectl("delete", "-k", overlay)
    await_only(kubectl, before)


def apply(kubectl: Kubectl, overlay: str) -> None:
    kubectl("apply", "-k", overlay)
    kubectl("rollout", "status", "-n", NAME, f"deployment/{NAME}", "--timeout=240s")
