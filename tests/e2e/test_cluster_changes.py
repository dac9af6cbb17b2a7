"""What happens to workloads that run: debugged, given new images, scaled, restarted, edited, deleted."""

import pytest

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.processes import LABEL
from e2e.stage import NAME, Stage
from e2e.things import FAILING, PASSING, Json, images_of, thing

pytestmark = pytest.mark.cluster

MERGE = "application/merge-patch+json"
DEPLOYMENTS = "/apis/apps/v1/namespaces/strict/deployments"
PODS = "/api/v1/namespaces/strict/pods"


@pytest.fixture(scope="module")
def running(stage: Stage, kubectl: Kubectl) -> str:
    """A Deployment whose Pods run."""
    made = stage.create("strict", thing("Deployment", PASSING, name="running", replicas=2, runs=True))
    assert made.code == 201, made.message
    kubectl("rollout", "status", "-n", "strict", "deployment/running", "--timeout=90s")
    return "running"


@pytest.fixture(scope="module")
def earlier(stage: Stage, kubectl: Kubectl, namespaces: Namespaces) -> str:
    """A namespace whose Deployment ran an image that is refused before the controller came."""
    name = namespaces("earlier")
    made = stage.create(name, thing("Deployment", FAILING, name="earlier", replicas=1, runs=True))
    assert made.code == 201, made.message
    kubectl("rollout", "status", "-n", name, "deployment/earlier", "--timeout=90s")
    kubectl("label", "namespace", name, f"{LABEL}={NAME}")
    until(lambda: stage.create(name, thing("Pod", FAILING), dry_run=True).code == 403, f"{name} is judged")
    return name


def pods(stage: Stage, app: str, namespace: str = "strict") -> list[Json]:
    found: list[Json] = stage.api.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app={app}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def test_kubectl_debug_adds_what_passes_and_not_what_fails(stage: Stage, kubectl: Kubectl, running: str) -> None:
    name = pods(stage, running)[0]["metadata"]["name"]
    debug = ("kubectl", "debug", "-n", "strict", name, "--profile=general", "--container")

    refused = kubectl.run(*debug, "bad", f"--image={FAILING}", "--", "sleep", "1")
    admitted = kubectl.run(*debug, "good", "--image=redis:7", "--image-pull-policy=IfNotPresent", "--", "sleep", "1")

    assert refused.returncode != 0
    assert (
        f'admission webhook "{stage.webhook}" denied the request: Image {FAILING} with digest sha256:' in refused.stderr
    )
    assert admitted.returncode == 0, admitted.stderr
    added = stage.api.get(f"{PODS}/{name}")["spec"]["ephemeralContainers"]
    assert [container["name"] for container in added] == ["good"]


def test_kubectl_set_image_changes_nothing_that_is_refused(stage: Stage, kubectl: Kubectl, running: str) -> None:
    change = ("kubectl", "set", "image", "-n", "strict", f"deployment/{running}")

    refused = kubectl.run(*change, f"c1={FAILING}")
    assert refused.returncode != 0
    assert f"Image {FAILING} with digest sha256:" in refused.stderr
    assert images_of(stage.api.get(f"{DEPLOYMENTS}/{running}")["spec"]["template"]) == [PASSING]

    admitted = kubectl.run(*change, "c1=redis:7")
    assert admitted.returncode == 0, admitted.stderr
    kubectl("rollout", "status", "-n", "strict", f"deployment/{running}", "--timeout=90s")
    assert {image for pod in pods(stage, running) for image in images_of(pod)} == {"redis:7"}


def test_a_running_pod_takes_no_refused_image(stage: Stage, kubectl: Kubectl, running: str) -> None:
    pod = f"pod/{pods(stage, running)[0]['metadata']['name']}"

    refused = kubectl.run("kubectl", "set", "image", "-n", "strict", pod, f"c1={FAILING}")

    assert refused.returncode != 0
    assert f'admission webhook "{stage.webhook}" denied the request' in refused.stderr


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/scale", {"spec": {"replicas": 1}}),
        ("/status", {"status": {"observedGeneration": 1}}),
        ("", {"metadata": {"labels": {"touched": "yes"}}}),
        ("", {"spec": {"minReadySeconds": 1}}),
        ("", {"spec": {"template": {"metadata": {"labels": {"touched": "yes"}}}}}),
    ],
    ids=["scale", "status", "label", "spec", "template"],
)
def test_what_changes_no_image_is_admitted_whatever_the_image(
    stage: Stage, earlier: str, path: str, change: Json
) -> None:
    deployment = f"/apis/apps/v1/namespaces/{earlier}/deployments/earlier{path}"

    answer = stage.api.call("PATCH", deployment, change, content_type=MERGE, dry_run=True)

    assert (answer.code, answer.warnings) == (200, ()), answer.message


def test_pods_that_ran_before_run_on_and_can_be_edited(stage: Stage, kubectl: Kubectl, earlier: str) -> None:
    name = pods(stage, "earlier", earlier)[0]["metadata"]["name"]

    kubectl("label", "pod", "-n", earlier, name, "touched=yes")
    kubectl("annotate", "pod", "-n", earlier, name, "touched=yes")

    kubectl("wait", "-n", earlier, "--for=condition=Ready", f"pod/{name}", "--timeout=30s")


def test_restart_and_scale_are_admitted_and_the_new_pods_are_judged(
    stage: Stage, kubectl: Kubectl, earlier: str
) -> None:
    before = {pod["metadata"]["name"] for pod in pods(stage, "earlier", earlier)}

    kubectl("rollout", "restart", "-n", earlier, "deployment/earlier")
    kubectl("scale", "-n", earlier, "deployment/earlier", "--replicas=2")

    def complaint() -> str:
        found = stage.api.get(f"/apis/apps/v1/namespaces/{earlier}/deployments/earlier")["status"]
        conditions = {each["type"]: each["message"] for each in found["conditions"]}
        return str(conditions.get("ReplicaFailure", ""))

    assert f"Image {FAILING} with digest sha256:" in until(complaint, "the Deployment tells that its Pods are refused")
    assert {pod["metadata"]["name"] for pod in pods(stage, "earlier", earlier)} == before


def test_finalizers_go_whatever_the_image(stage: Stage, kubectl: Kubectl, earlier: str) -> None:
    name = pods(stage, "earlier", earlier)[0]["metadata"]["name"]
    pod = f"/api/v1/namespaces/{earlier}/pods/{name}"
    for finalizers, code in ((["e2e.anchore.io/held"], 200), ([], 200)):
        change = {"metadata": {"finalizers": finalizers}}
        assert stage.api.call("PATCH", pod, change, content_type=MERGE).code == code
        if finalizers:
            kubectl("delete", "pod", "-n", earlier, name, "--wait=false")

    until(lambda: stage.api.call("GET", pod).code == 404, f"{name} is gone")
