"""The chart in a real cluster: the original walk-through, upgrades that go wrong, and nothing left in the end."""

from collections.abc import Iterator

import pytest

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.release import NAME, WEBHOOK, Release, installed
from e2e.things import FAILING, thing

pytestmark = pytest.mark.cluster

POLICY = {
    "id": "admissionpolicy",
    "version": "1_0",
    "name": "AdmissionControllerDefaultPolicy",
    "policies": [
        {
            "id": "Default",
            "version": "1_0",
            "name": "Default",
            "rules": [
                {
                    "id": "cverule1",
                    "gate": "vulnerabilities",
                    "trigger": "package",
                    "action": "STOP",
                    "params": [
                        {"name": "package_type", "value": "all"},
                        {"name": "severity", "value": "low"},
                        {"name": "severity_comparison", "value": ">="},
                    ],
                }
            ],
        }
    ],
    "whitelists": [],
    "whitelisted_images": [],
    "blacklisted_images": [],
    "mappings": [
        {
            "name": "Default",
            "registry": "*",
            "repository": "*",
            "image": {"type": "tag", "value": "*"},
            "policy_ids": ["Default"],
            "whitelist_ids": [],
        }
    ],
}
"""The original walk-through's policy: stops at anything of severity low or worse."""
LOW = {"id": "CVE-2016-2781", "severity": "low", "package": "coreutils", "version": "8.32-4", "packageType": "dpkg"}
SEED = {
    "analysisTime": 0,
    "registry": [{"tag": "docker.io/library/ubuntu:latest", "findings": [LOW]}],
    "images": [{"tag": "docker.io/library/nginx:1.25", "findings": [LOW]}],
    "policies": [{"account": "admin", "active": True, "policy": POLICY}],
}
SANDBOX = {"sandbox": {"enabled": True, "seed": SEED}}
PASSIVE = {**SANDBOX, "requestAnalysis": True}
STRICT = {**SANDBOX, "anchore": {"policybundle": "admissionpolicy"}, "enableStrictGating": True}
"""The values' names are those of the original chart."""
TWICE = {"defaults": {"mode": "strict"}, "rules": [{"name": "twice"}, {"name": "twice"}]}
"""What the chart's schema lets through and the controller refuses."""
UBUNTU = ("kubectl", "run", "ubuntu", "--image", "ubuntu", "--restart", "Never")


@pytest.fixture(scope="module")
def passive(release: Release) -> Iterator[Release]:
    with installed(release, PASSIVE) as running:
        yield running


def test_the_original_walk_through_passive_then_strict(passive: Release, kubectl: Kubectl) -> None:
    asked = until(lambda: _asked(kubectl), "API servers ask the controller")
    kubectl("delete", "pod", "ubuntu", "--now")

    record = passive.anchore("/v1/images?fulltag=docker.io/ubuntu:latest")[0]
    assert record["annotations"]["requestor"] == "anchore-admission-controller"
    assert f"Image analysis for image ubuntu requested and found mapped to digest {record['imageDigest']}" in asked

    passive.install(STRICT)
    passive.await_judging("default")
    refused = kubectl.run(*UBUNTU)

    assert refused.returncode == 1
    _, _, said = refused.stderr.partition("admission webhook ")
    assert said.splitlines()[0] == (
        f'"{WEBHOOK}" denied the request: Image ubuntu with digest {record["imageDigest"]} '
        "failed policy checks for policy bundle admissionpolicy"
    )


def _asked(kubectl: Kubectl) -> str:
    """What kubectl says beside "created", once the controller is asked; the Pod is made anew until it is."""
    kubectl.run("kubectl", "delete", "pod", "ubuntu", "--now", "--ignore-not-found")
    return kubectl.run(*UBUNTU).stderr


def test_helm_test_asks_as_an_api_server_does(passive: Release, kubectl: Kubectl) -> None:
    passive.install(STRICT)

    assert "Phase:          Succeeded" in kubectl.helm("test", NAME, "--namespace", NAME, "--timeout", "150s")


def test_a_bad_configuration_shows_itself_and_leaves_the_old_replicas_serving(passive: Release) -> None:
    passive.install(STRICT)
    passive.await_judging("default")
    before = {pod["metadata"]["uid"] for pod in passive.pods()}

    with pytest.raises(RuntimeError, match=r"deadline exceeded|not ready|timed out"):
        passive.install({**SANDBOX, "config": TWICE}, "--timeout", "15s")

    assert before <= {pod["metadata"]["uid"] for pod in passive.pods()}
    assert passive.create("default", thing("Pod", FAILING)).message.startswith(f'admission webhook "{WEBHOOK}" denied')
    passive.install(STRICT)
    until(passive.ready, "the release is whole again")
