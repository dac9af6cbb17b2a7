"""The overlay that leaves certificates and the CA bundle to cert-manager, applied with a real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.issued import content, in_use, publisher, remove_secret
from e2e.kustomized import CREDENTIALS, apply, based_on
from e2e.leftovers import await_only, beginning
from e2e.processes import ANCHORE, sandbox
from e2e.release import NAME, Release
from e2e.things import FAILING, PASSING, thing

pytestmark = pytest.mark.cluster

STRICT = [
    {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
    {"op": "add", "path": "/webhooks/0/namespaceSelector/matchExpressions/0/values/-", "value": "cert-manager"},
]


@pytest.fixture
def overlay(release: Release, tmp_path: Path) -> str:
    configuration = {"anchore": {"endpoint": ANCHORE}, "defaults": {"mode": "strict"}}
    patch = {"target": {"kind": "ValidatingWebhookConfiguration"}, "patch": yaml.safe_dump(STRICT)}
    return based_on("cert-manager", tmp_path, release.image, configuration, patches=[patch])


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
