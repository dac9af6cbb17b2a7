"""Exemptions and break-glass: real controllers, real users, kubectl debug, the API server's audit log."""

import json

import pytest

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.stage import BREAK_GLASS, LABEL, Stage, entries
from e2e.things import FAILING, PASSING, Json, thing

pytestmark = pytest.mark.cluster

NAMESPACE = "waived"
ON_CALL = ("--as=jane", "--as-group=on-call", "--as-group=system:masters")
"""A person on call who may do everything."""
REASON = "INC-42: the shop is down"


@pytest.fixture(scope="module", autouse=True)
def _namespace(stage: Stage, namespaces: Namespaces) -> None:
    namespaces(NAMESPACE, **{LABEL: "yes"})
    until(lambda: stage.create(NAMESPACE, thing("Pod", FAILING), dry_run=True).code == 403, f"{NAMESPACE} is judged")


def annotated(kind: str, *images: str, name: str, **more: bool) -> Json:
    made = thing(kind, *images, name=name, **more)
    made["metadata"]["annotations"] = {BREAK_GLASS: REASON}
    if kind != "Pod":
        made["spec"]["template"]["metadata"]["annotations"] = {BREAK_GLASS: REASON}
    return made


def applied(kubectl: Kubectl, made: Json, *options: str) -> tuple[int, str]:
    """Create an object with kubectl; return the exit code and what a person reads."""
    done = kubectl.run("kubectl", "create", "-n", NAMESPACE, *options, "-f", "-", stdin=json.dumps(made))
    return done.returncode, done.stderr


def test_a_deployment_and_its_pods_are_exempt(stage: Stage, kubectl: Kubectl) -> None:
    before = stage.counted("anchore_admission_exemption_uses_total", exemption="roll-back")
    code, said = applied(kubectl, thing("Deployment", FAILING, name="exempt", replicas=2))

    assert code == 0, said
    assert f"Warning: Exemption roll-back admits image {FAILING}: until the new version works (owner team-e2e" in said
    selected = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app=exempt"
    pods = until(lambda: found if len(found := stage.api.get(selected)["items"]) == 2 else None, "its Pods are created")
    trail = stage.annotations(NAMESPACE, "exempt", "create")
    assert trail["verdict"] == "deny"
    assert trail["exemptions"].startswith(
        "exemption roll-back: until the new version works (owner team-e2e, ticket E2E-1"
    )
    assert trail["images"].endswith("deny: policy_failed, admitted by roll-back")
    assert pods
    used = stage.counted("anchore_admission_exemption_uses_total", exemption="roll-back") - before
    assert used == 3, "the Deployment and two Pods"
    assert stage.counted("anchore_admission_exemption_expiry_timestamp_seconds", exemption="roll-back") > 0


def test_another_deployment_is_not(stage: Stage, kubectl: Kubectl) -> None:
    code, said = applied(kubectl, thing("Deployment", FAILING, name="other"))

    assert code != 0
    assert f"Image {FAILING} with digest" in said
    assert "roll-back" not in said


def test_a_person_on_call_starts_a_denied_pod_with_a_reason(stage: Stage, kubectl: Kubectl) -> None:
    without, asked = applied(kubectl, thing("Pod", FAILING, name="repair"), *ON_CALL)
    code, said = applied(kubectl, annotated("Pod", FAILING, name="repair"), *ON_CALL)

    assert without != 0
    assert f"In an emergency, give a reason in the Pod's annotation {BREAK_GLASS}" in asked
    assert code == 0, said
    assert f"Warning: Break-glass of rule on-call admits image {FAILING}: {REASON}" in said
    trail = stage.annotations(NAMESPACE, "repair", "create")
    assert (trail["verdict"], trail["exemptions"]) == ("deny", f"break_glass on-call: {REASON}")
    assert entries(NAMESPACE, "repair", "create")[-1]["impersonatedUser"]["username"] == "jane"
    assert stage.counted("anchore_admission_exemption_uses_total", exemption="on-call", kind="break_glass") >= 1


def test_the_reason_of_anyone_else_counts_for_nothing(stage: Stage, kubectl: Kubectl) -> None:
    code, said = applied(kubectl, annotated("Pod", FAILING, name="foreign"))

    assert code != 0
    assert "emergency" not in said


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_break_glass_serves_no_template(kind: str, stage: Stage, kubectl: Kubectl) -> None:
    code, said = applied(kubectl, annotated(kind, FAILING, name="templated"), *ON_CALL)

    assert code != 0
    assert f"Image {FAILING} with digest" in said


def test_a_pod_that_a_controller_creates_carries_no_person(stage: Stage, kubectl: Kubectl) -> None:
    """A forged owner keeps a ReplicaSet from being judged; the annotation of its template is copied to its Pods."""
    made = annotated("ReplicaSet", FAILING, name="forged")
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none", "uid": "1", "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    code, said = applied(kubectl, made, *ON_CALL)
    assert code == 0, said

    of = "reason=FailedCreate,involvedObject.kind=ReplicaSet,involvedObject.name=forged"
    path = f"/api/v1/namespaces/{NAMESPACE}/events?fieldSelector={of}"
    events = until(lambda: stage.api.get(path)["items"], "its controller was denied a Pod")
    assert f"Image {FAILING} with digest" in events[0]["message"]
    assert "emergency" not in events[0]["message"]


def test_a_person_on_call_debugs_a_pod_with_a_denied_image(stage: Stage, kubectl: Kubectl) -> None:
    code, said = applied(kubectl, thing("Pod", PASSING, name="debugged", runs=True))
    assert code == 0, said
    debug = ("kubectl", "debug", "-n", NAMESPACE, "debugged", "--profile=general", f"--image={FAILING}", *ON_CALL)
    denied = kubectl.run(*debug, "--container=first", "--", "sleep", "1")
    kubectl("annotate", "-n", NAMESPACE, "pod/debugged", f"{BREAK_GLASS}={REASON}")
    by_anyone = kubectl.run(*debug[:-3], "--container=second", "--", "sleep", "1")
    admitted = kubectl.run(*debug, "--container=third", "--", "sleep", "1")

    assert (denied.returncode, by_anyone.returncode) == (1, 1)
    assert BREAK_GLASS in denied.stderr
    assert admitted.returncode == 0, admitted.stderr
    found = stage.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/debugged")["spec"]["ephemeralContainers"]
    assert [container["name"] for container in found] == ["third"]
