"""The overlay with OPA as a sidecar, applied as its README says, with policies of our own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.kustomized import CREDENTIALS, apply, based_on
from e2e.leftovers import await_only, beginning
from e2e.opa import EXAMPLES, FROZEN, OBJECTION, PATH, RISKY, SEED, exposed, load
from e2e.processes import ANCHORE, sandbox
from e2e.release import NAME, WEBHOOK, Release
from e2e.things import FAILING, PASSING, thing

pytestmark = pytest.mark.cluster

HERE = "guarded-kustomize"
POLICIES = f"{NAME}-opa-policies"


def written(folder: Path, image: str) -> str:
    """Write an overlay on the one with OPA: other policies, which are asked about every update."""
    overlay = yaml.safe_load(
        (Path(__file__).parents[2] / "deploy/kustomize/overlays/opa/configuration.yaml").read_text()
    )
    configuration = {"anchore": {"endpoint": ANCHORE}, "opa": {**overlay["opa"], "requests": ["all"]}}
    replaced = [{"op": "replace", "path": "/data", "value": {**EXAMPLES, **FROZEN}}]
    patch = {"target": {"kind": "ConfigMap", "name": POLICIES}, "patch": yaml.safe_dump(replaced)}
    return based_on("opa", folder, image, configuration, patches=[patch])


@pytest.fixture
def before(
    release: Release, cluster: Cluster, kubectl: Kubectl, namespaces: Namespaces, tmp_path: Path
) -> Iterator[set[str]]:
    load(cluster, tmp_path)
    namespaces(HERE)
    found = beginning(kubectl, namespaces(NAME))
    kubectl.apply(CREDENTIALS)
    seed = tmp_path / "seed.json"
    seed.write_text(json.dumps(SEED))
    with sandbox(seed):
        yield found | {f"Secret {NAME}/anchore-credentials"}


def test_the_overlay_denies_by_its_policies_and_is_removed_without_a_trace(
    before: set[str], tmp_path: Path, release: Release, kubectl: Kubectl
) -> None:
    overlay = written(tmp_path, release.image)
    apply(kubectl, overlay)
    release.await_judging(HERE)

    denied = release.create(HERE, exposed(), dry_run=True)
    assert denied.code == 403
    assert f'admission webhook "{WEBHOOK}" denied the request: ' in denied.message
    assert OBJECTION in denied.message
    assert release.create(HERE, exposed(PASSING, "harmless"), dry_run=True).allowed
    assert "failed policy checks" in release.create(HERE, exposed(FAILING), dry_run=True).message

    # registration.yaml holds the condition, and the controller leaves it out.
    assert [it["name"] for it in release.registration()["matchConditions"]] == ["not-another-release"]
    assert release.create(HERE, thing("Pod", RISKY, name="calm")).allowed
    with pytest.raises(RuntimeError, match=f"{PATH}: labels are frozen"):
        kubectl("label", "pod", "-n", HERE, "calm", "frozen=yes")
    kubectl("label", "pod", "-n", HERE, "calm", "free=yes")
    kubectl("delete", "pod", "-n", HERE, "calm", "--wait=false")

    # OPA follows a change of the policies that is applied.
    replicas = {pod["metadata"]["uid"] for pod in release.pods()}
    (Path(overlay) / "kustomization.yaml").write_text(
        (Path(overlay) / "kustomization.yaml").read_text().replace("labels are frozen", "labels are fixed")
    )
    apply(kubectl, overlay)
    frozen = thing("Pod", PASSING, name="frozen")
    frozen["metadata"]["labels"]["frozen"] = "yes"

    def all_follow() -> bool:
        release.nudge()
        said = [release.reviewed(pod, HERE, frozen).get("status", {}).get("message", "") for pod in release.pods()]
        return all(f"{PATH}: labels are fixed" in text for text in said)

    until(all_follow, "OPA follows in every replica", 240, every=1)
    assert {pod["metadata"]["uid"] for pod in release.pods()} == replicas

    kubectl("delete", "-k", overlay)
    await_only(kubectl, before)
