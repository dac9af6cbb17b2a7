"""The chart in a real cluster: the original walk-through, upgrades that go wrong, and nothing left in the end."""

from collections.abc import Iterator

import pytest

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.release import CHART, NAME, WEBHOOK, Release, installed, whole
from e2e.things import Json

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
UBUNTU = ("kubectl", "run", "ubuntu", "--image", "ubuntu", "--restart", "Never")


@pytest.fixture(scope="module")
def passive(release: Release) -> Iterator[Release]:
    with installed(release, PASSIVE) as running:
        yield running


def test_helm_test_says_in_time_that_the_image_cannot_be_pulled(kubectl: Kubectl) -> None:
    """Here, while no other release judges its Pods."""
    name, image = "unpullable", "image.repository=localhost/no-such-image,image.pullPolicy=Never"
    here = ("--namespace", name)
    kubectl.helm("install", name, str(CHART), *here, "--create-namespace", "--set", f"sandbox.enabled=true,{image}")
    try:
        with pytest.raises(RuntimeError, match=f"Job/{name}/{name}-{NAME}-image-pull not ready. status: Failed"):
            kubectl.helm("test", name, *here, "--timeout", "100s")
    finally:
        kubectl.helm("uninstall", name, *here, "--wait")
        kubectl("delete", "namespace", name, "--wait=false")


def test_the_original_walk_through_passive_then_strict(passive: Release, kubectl: Kubectl) -> None:
    asked = until(lambda: _asked(kubectl), "Anchore has answered the controller, and API servers ask it")
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
    """Return kubectl's output beside "created" once it names the digest; create the Pod again until then.

    The original values have no ``passive.wait``: facts that take Anchore more than a second are in the next response.
    """
    kubectl.run("kubectl", "delete", "pod", "ubuntu", "--now", "--ignore-not-found")
    said = kubectl.run(*UBUNTU).stderr
    return said if "mapped to digest" in said else ""


@pytest.mark.parametrize("pins", [False, True])
def test_helm_test_sends_a_review_as_an_api_server_does(passive: Release, kubectl: Kubectl, pins: bool) -> None:
    passive.install({**STRICT, "pinning": {"enabled": pins}})

    ended = kubectl.run("helm", "test", NAME, "--namespace", NAME, "--timeout", "150s")

    assert "Phase:          Succeeded" in ended.stdout
    said = ended.stdout + ended.stderr
    assert "The validating webhook answers: a Pod with image docker.io/library/busybox:latest" in said
    assert ("The mutating webhook answers: a Pod with image docker.io/library/busybox:latest" in said) == pins


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"replicaCount": "two"}, "replicaCount"),
        ({"enableStrictGatng": True}, "enableStrictGatng"),
        ({"anchore": {"endpoint": "http://anchore:8228"}}, r"sandbox\.enabled: not together with an endpoint"),
    ],
)
def test_helm_rejects_a_wrong_value_by_name_and_touches_nothing(
    passive: Release, kubectl: Kubectl, wrong: Json, expected: str
) -> None:
    before = whole(passive, kubectl)

    with pytest.raises(RuntimeError, match=expected):
        passive.install({**STRICT, **wrong})

    assert whole(passive, kubectl) == before
