"""Changes to running workloads: debug, new images, scale, restart, edit, delete."""

import pytest

from e2e.cluster.api import PLURALS
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.stage import LABEL, Stage
from e2e.things import FAILING, PASSING, Json, images_of, thing

pytestmark = pytest.mark.cluster

MERGE = "application/merge-patch+json"
RUNNERS = ("Deployment", "StatefulSet", "DaemonSet")
BARE = "/api/v1/namespaces/strict/pods/bare"


@pytest.fixture(scope="module")
def bare(stage: Stage, kubectl: Kubectl) -> str:
    """A Pod that runs."""
    made = stage.create("strict", thing("Pod", PASSING, name="bare", runs=True))
    assert made.code == 201, made.message
    kubectl("wait", "-n", "strict", "--for=condition=Ready", "pod/bare", "--timeout=180s")
    return "bare"


@pytest.fixture(scope="module", params=RUNNERS)
def running(stage: Stage, kubectl: Kubectl, request: pytest.FixtureRequest) -> str:
    """The kind of something called "running" whose Pods run."""
    kind: str = request.param
    run(stage, kubectl, "strict", kind, PASSING)
    return kind


@pytest.fixture(scope="module")
def earlier(stage: Stage, kubectl: Kubectl, namespaces: Namespaces) -> str:
    """A namespace where an image that is refused ran before the controller came; a CronJob's turn is still to come."""
    name = namespaces("earlier")
    for kind in RUNNERS:
        run(stage, kubectl, name, kind, FAILING)
    suspended = thing("CronJob", FAILING, name="earlier")
    suspended["spec"]["suspend"] = True
    assert stage.create(name, suspended).code == 201
    kubectl("label", "namespace", name, f"{LABEL}=yes")
    until(lambda: stage.create(name, thing("Pod", FAILING), dry_run=True).code == 403, f"{name} is judged")
    return name


def run(stage: Stage, kubectl: Kubectl, namespace: str, kind: str, image: str) -> None:
    """Run a workload under a name of its own, so that no two select the same Pods."""
    made = stage.create(namespace, thing(kind, image, name=named(kind), runs=True))
    assert made.code == 201, made.message
    roll_out(kubectl, namespace, kind)


def roll_out(kubectl: Kubectl, namespace: str, kind: str) -> None:
    kubectl("rollout", "status", "-n", namespace, f"{kind}/{named(kind)}", "--timeout=180s")


def named(kind: str) -> str:
    return f"of-{kind.lower()}"


def path_of(namespace: str, kind: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{PLURALS[kind]}/{named(kind)}"


def pods(stage: Stage, namespace: str, kind: str) -> list[Json]:
    found: list[Json] = stage.api.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app={named(kind)}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def uids(found: list[Json]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in found}


def warnings(stage: Stage, namespace: str, kind: str, name: str) -> str:
    """Return the events of a Kubernetes controller about Pods that it could not create."""
    of = f"reason=FailedCreate,involvedObject.kind={kind},involvedObject.name={name}"
    events = stage.api.get(f"/api/v1/namespaces/{namespace}/events?fieldSelector={of}")["items"]
    return "\n".join(event["message"] for event in events)


def test_kubectl_debug_adds_passing_images_and_no_failing_ones(stage: Stage, kubectl: Kubectl, bare: str) -> None:
    debug = ("kubectl", "debug", "-n", "strict", bare, "--profile=general", "--container")

    refused = kubectl.run(*debug, "bad", f"--image={FAILING}", "--", "sleep", "1")
    admitted = kubectl.run(*debug, "good", "--image=redis:7", "--image-pull-policy=IfNotPresent", "--", "sleep", "1")

    assert refused.returncode != 0
    assert (
        f'admission webhook "{stage.webhook}" denied the request: Image {FAILING} with digest sha256:' in refused.stderr
    )
    assert admitted.returncode == 0, admitted.stderr
    added = stage.api.get(BARE)["spec"]["ephemeralContainers"]
    assert [container["name"] for container in added] == ["good"]


def test_a_running_pod_takes_no_denied_image(stage: Stage, kubectl: Kubectl, bare: str) -> None:
    refused = kubectl.run("kubectl", "set", "image", "-n", "strict", f"pod/{bare}", f"c1={FAILING}")

    assert refused.returncode != 0
    assert f'admission webhook "{stage.webhook}" denied the request' in refused.stderr


def test_kubectl_set_image_changes_nothing_that_is_denied(stage: Stage, kubectl: Kubectl, running: str) -> None:
    change = ("kubectl", "set", "image", "-n", "strict", f"{running}/{named(running)}")

    refused = kubectl.run(*change, f"c1={FAILING}")
    assert refused.returncode != 0
    assert f"Image {FAILING} with digest sha256:" in refused.stderr
    assert images_of(stage.api.get(path_of("strict", running))["spec"]["template"]) == [PASSING]

    admitted = kubectl.run(*change, "c1=redis:7")
    assert admitted.returncode == 0, admitted.stderr
    roll_out(kubectl, "strict", running)
    assert {image for pod in pods(stage, "strict", running) for image in images_of(pod)} == {"redis:7"}


def test_workloads_that_pass_are_restarted(stage: Stage, kubectl: Kubectl, running: str) -> None:
    before = uids(pods(stage, "strict", running))

    kubectl("rollout", "restart", "-n", "strict", f"{running}/{named(running)}")

    roll_out(kubectl, "strict", running)
    after = uids(pods(stage, "strict", running))
    assert len(after) == len(before)
    assert not after & before


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
def test_updates_that_change_no_image_are_admitted_whatever_the_image(
    stage: Stage, earlier: str, path: str, change: Json
) -> None:
    deployment = f"{path_of(earlier, 'Deployment')}{path}"

    answer = stage.api.call("PATCH", deployment, change, content_type=MERGE, dry_run=True)

    assert (answer.code, answer.warnings) == (200, ()), answer.message


def test_pods_that_ran_before_run_on_and_can_be_edited(stage: Stage, kubectl: Kubectl, earlier: str) -> None:
    name = pods(stage, earlier, "Deployment")[0]["metadata"]["name"]

    kubectl("label", "pod", "-n", earlier, name, "touched=yes")
    kubectl("annotate", "pod", "-n", earlier, name, "touched=yes")

    kubectl("wait", "-n", earlier, "--for=condition=Ready", f"pod/{name}", "--timeout=30s")


def test_restart_and_scale_are_admitted_and_the_new_pods_are_judged(
    stage: Stage, kubectl: Kubectl, earlier: str
) -> None:
    before = uids(pods(stage, earlier, "Deployment"))

    kubectl("rollout", "restart", "-n", earlier, f"deployment/{named('Deployment')}")
    kubectl("scale", "-n", earlier, f"deployment/{named('Deployment')}", "--replicas=2")

    def complaint() -> str:
        conditions = stage.api.get(path_of(earlier, "Deployment"))["status"]["conditions"]
        messages = {each["type"]: each["message"] for each in conditions}
        return str(messages.get("ReplicaFailure", ""))

    assert f"Image {FAILING} with digest sha256:" in until(complaint, "the Deployment reports denied Pods")
    assert uids(pods(stage, earlier, "Deployment")) == before


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_a_restart_is_admitted_and_the_new_pods_are_judged(
    stage: Stage, kubectl: Kubectl, earlier: str, kind: str
) -> None:
    before = uids(pods(stage, earlier, kind))

    kubectl("rollout", "restart", "-n", earlier, f"{kind}/{named(kind)}")

    said = until(lambda: warnings(stage, earlier, kind, named(kind)), f"the {kind} reports that its Pods are refused")
    assert f'admission webhook "{stage.webhook}" denied the request: Image {FAILING} with digest sha256:' in said
    assert uids(pods(stage, earlier, kind)) < before


def test_a_job_that_a_cronjob_starts_is_denied_so_that_none_pile_up(stage: Stage, earlier: str) -> None:
    jobs = f"/apis/batch/v1/namespaces/{earlier}/jobs"
    cronjob = f"/apis/batch/v1/namespaces/{earlier}/cronjobs/earlier"
    for path, change in (
        (f"{cronjob}/status", {"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}}),  # it is late, so it starts now
        (cronjob, {"spec": {"suspend": False}}),
    ):
        answer = stage.api.call("PATCH", path, change, content_type=MERGE)
        assert (answer.code, answer.warnings) == (200, ()), answer.message

    said = until(lambda: warnings(stage, earlier, "CronJob", "earlier"), "the CronJob reports that its Job is denied")

    assert f'admission webhook "{stage.webhook}" denied the request: Image {FAILING} with digest sha256:' in said
    assert stage.api.get(jobs)["items"] == []


def test_finalizers_go_whatever_the_image(stage: Stage, kubectl: Kubectl, earlier: str) -> None:
    name = pods(stage, earlier, "Deployment")[0]["metadata"]["name"]
    pod = f"/api/v1/namespaces/{earlier}/pods/{name}"
    for finalizers, code in ((["e2e.anchore.io/held"], 200), ([], 200)):
        change = {"metadata": {"finalizers": finalizers}}
        assert stage.api.call("PATCH", pod, change, content_type=MERGE).code == code
        if finalizers:
            kubectl("delete", "pod", "-n", earlier, name, "--wait=false")

    until(lambda: stage.api.call("GET", pod).code == 404, f"{name} is gone")
