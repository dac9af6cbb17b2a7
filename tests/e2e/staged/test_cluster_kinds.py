"""Every kind of workload: denied, warned about and admitted, by an API server that really asks."""

from itertools import permutations

import pytest

from e2e.cluster.api import Answer, collection
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.stage import LABEL, Stage
from e2e.things import BROKEN, FAILING, KINDS, PASSING, PENDING, REFUSED, TEMPLATES, Json, images_of, thing

pytestmark = pytest.mark.cluster

DIGEST = "4f0e2c5a" * 8
POD_SPECS = {"Pod": "/spec", "PodTemplate": "/template/spec", "CronJob": "/spec/jobTemplate/spec/template/spec"}
"""JSON pointers to the Pod spec by kind; all others have it in ``/spec/template/spec``."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_policy_denies_every_kind(stage: Stage, kind: str) -> None:
    said = stage.denial(stage.create("strict", thing(kind, PASSING, FAILING, name="failed")))

    head, *findings = said.split("\n")
    assert head.startswith(f"Image {FAILING} with digest sha256:")
    assert "failed policy checks for policy bundle" in head
    assert findings[0] == "  CRITICAL CVE-2021-3711 in openssl, fixed in 1.1.1l-r0"
    assert PASSING not in said


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_pass_are_admitted_without_a_warning(stage: Stage, kind: str) -> None:
    answer = stage.create("strict", thing(kind, PASSING, name="passed", replicas=0))

    assert answer.code == 201, answer.message
    assert answer.warnings == ()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Job"])
def test_an_update_that_brings_a_failed_policy_is_denied_for_every_kind(stage: Stage, kind: str) -> None:
    made = thing(kind, PASSING, name=f"updated-{kind.lower()}", replicas=0)
    assert stage.create("strict", made).code == 201

    assert stage.denial(updated(stage, made, FAILING)).startswith(f"Image {FAILING} with digest sha256:")
    assert updated(stage, made, "redis:7").code == 200


def test_the_image_of_a_job_cannot_be_changed(stage: Stage) -> None:
    made = thing("Job", PASSING, name="updated-job")
    assert stage.create("strict", made).code == 201

    answer = updated(stage, made, "redis:7")

    assert (answer.code, "field is immutable" in answer.message) == (422, True), answer.message


def updated(stage: Stage, made: Json, image: str) -> Answer:
    """Change the image of the first container and return the response."""
    path = f"{POD_SPECS.get(made['kind'], '/spec/template/spec')}/containers/0/image"
    change = [{"op": "replace", "path": path, "value": image}]
    thing_itself = f"{collection('strict', made)}/{made['metadata']['name']}"
    return stage.api.call("PATCH", thing_itself, change, content_type="application/json-patch+json")


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize(
    ("image", "words"),
    [
        (PENDING, "is not analyzed: its analysis is under way"),
        (BROKEN, "is not analyzed: "),  # failed, or under way again
        (REFUSED, "is not analyzed. Cannot evaluate policy"),
    ],
)
def test_reasons_that_time_may_fix_only_warn_about_templates(stage: Stage, kind: str, image: str, words: str) -> None:
    answer = stage.create("strict", thing(kind, image, name=f"later-{image.partition(':')[0]}", replicas=0))

    assert answer.code == 201, answer.message
    assert len(answer.warnings) == 1
    assert answer.warnings[0].startswith(f"Image {image}")
    assert words in answer.warnings[0]


@pytest.mark.parametrize("image", [PENDING, BROKEN, REFUSED])
def test_a_pod_has_no_later(stage: Stage, image: str) -> None:
    assert stage.denial(stage.create("strict", thing("Pod", image))).startswith(f"Image {image}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("image", "words"),
    [(DIGEST, "is an image ID"), (f"sha256:{DIGEST}", "is an image ID"), ("team/APP:1", "")],
)
def test_images_that_cannot_be_looked_up_are_denied_for_every_kind(
    stage: Stage, kind: str, image: str, words: str
) -> None:
    said = stage.denial(stage.create("strict", thing(kind, image)))

    assert said.startswith(f'containers "c1": image {image}')
    assert words in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("namespace", ["passive", "skipped"])
@pytest.mark.parametrize(
    ("image", "words"),
    [(DIGEST, "is an image ID"), (f"sha256:{DIGEST}", "is an image ID"), ("team/APP:1", "")],
)
def test_where_nothing_is_denied_it_is_warned_about(
    stage: Stage, kind: str, namespace: str, image: str, words: str
) -> None:
    answer = stage.create(namespace, thing(kind, image, replicas=0), dry_run=True)

    assert answer.code == 201, answer.message
    assert len(answer.warnings) == 1
    assert answer.warnings[0].startswith(f'containers "c1": image {image}')
    assert words in answer.warnings[0]


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
@pytest.mark.parametrize("reference", ["nginx@{}", "nginx:1.25@{}", "docker.io/library/nginx:other@{}"])
def test_the_digest_is_judged(stage: Stage, kind: str, reference: str) -> None:
    image = reference.format(stage.digest(FAILING))

    said = stage.denial(stage.create("strict", thing(kind, image)))

    assert said.startswith(f"Image {image} with digest {stage.digest(FAILING)} failed policy checks")


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
@pytest.mark.parametrize("reference", ["alpine@{}", "alpine:3.20@{}", "docker.io/library/alpine:other@{}"])
def test_a_digest_that_passes_is_admitted_whatever_its_tag(stage: Stage, kind: str, reference: str) -> None:
    image = reference.format(stage.digest(PASSING))

    answer = stage.create("strict", thing(kind, image, replicas=0), dry_run=True)

    assert (answer.code, answer.warnings) == (201, ()), answer.message


def test_the_tag_of_another_image_hides_no_digest(stage: Stage) -> None:
    said = stage.denial(stage.create("strict", thing("Pod", f"{PASSING}@{stage.digest(FAILING)}")))

    assert said.startswith(f"Image {PASSING}@{stage.digest(FAILING)} with digest {stage.digest(FAILING)} failed policy")


@pytest.mark.parametrize("reference", ["alpine@{}", "alpine:3.20@{}"])
def test_a_digest_that_anchore_does_not_know_is_not_analyzed(stage: Stage, reference: str) -> None:
    image = reference.format(f"sha256:{DIGEST}")

    said = stage.denial(stage.create("strict", thing("Pod", image)))

    assert said.startswith(f"Image {image}")
    assert "is not analyzed" in said


@pytest.mark.parametrize(
    "spec",
    [
        {"initContainers": [{"name": "hidden", "image": FAILING}]},
        {"initContainers": [{"name": "hidden", "image": FAILING, "restartPolicy": "Always"}]},
        {"volumes": [{"name": "hidden", "image": {"reference": FAILING}}]},
    ],
    ids=["init container", "sidecar", "image volume"],
)
@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_images_are_found_wherever_a_pod_pulls_them_from(stage: Stage, kind: str, spec: Json) -> None:
    said = stage.denial(stage.create("strict", thing(kind, PASSING, **spec)))

    assert said.startswith(f"Image {FAILING} with digest sha256:")


@pytest.mark.parametrize("images", list(permutations((PENDING, FAILING, BROKEN))))
def test_a_denial_names_images_in_the_order_in_which_a_pod_has_them(stage: Stage, images: tuple[str, ...]) -> None:
    """An ephemeral container comes by an update, when all others are old."""
    first, second, third = images
    volumes = [{"name": "third", "image": {"reference": third}}]
    made = thing("Pod", second, volumes=volumes, initContainers=[{"name": "first", "image": first}])

    said = stage.denial(stage.create("strict", made, dry_run=True))

    assert [line.split()[1] for line in said.splitlines() if not line.startswith("  ")] == [first, second, third]


@pytest.fixture
def owned(stage: Stage, kubectl: Kubectl, namespaces: Namespaces) -> str:
    """A namespace in which ReplicaSets of the image are denied that a Deployment is about to create."""
    name = namespaces("owned")
    made = thing("Deployment", FAILING, name="controlled")
    made["spec"]["paused"] = True
    assert stage.create(name, made).code == 201
    kubectl("label", "namespace", name, f"{LABEL}=yes")
    until(lambda: stage.create(name, thing("ReplicaSet", FAILING), dry_run=True).code == 403, f"{name} is judged")
    return name


def test_pods_of_a_deployment_are_judged_where_it_counts(stage: Stage, kubectl: Kubectl, owned: str) -> None:
    """The ReplicaSet is let through, its Pods are not, and the Deployment says why."""
    path = f"/apis/apps/v1/namespaces/{owned}/deployments/controlled"
    kubectl("rollout", "resume", "-n", owned, "deployment/controlled")

    def complaint() -> str:
        conditions = stage.api.get(path)["status"].get("conditions", ())
        return next((found["message"] for found in conditions if found["type"] == "ReplicaFailure"), "")

    said = until(complaint, "the Deployment reports that its Pods are refused")
    assert f'admission webhook "{stage.webhook}" denied the request: Image {FAILING} with digest sha256:' in said
    (made,) = stage.api.get(f"/apis/apps/v1/namespaces/{owned}/replicasets")["items"]
    assert (made["spec"]["replicas"], images_of(made["spec"]["template"])) == (1, [FAILING])
    assert stage.api.get(f"/api/v1/namespaces/{owned}/pods")["items"] == []
    kubectl("delete", "-n", owned, "deployment/controlled", "--cascade=foreground")  # no more tries


@pytest.mark.parametrize("kind", KINDS)
def test_passive_mode_admits_and_names_the_digest(stage: Stage, kind: str) -> None:
    answer = stage.create("passive", thing(kind, FAILING, name="seen", replicas=0))

    assert answer.code == 201, answer.message
    assert len(answer.warnings) == 1
    assert answer.warnings[0].startswith(
        f"Image analysis for image {FAILING} requested and found mapped to digest sha256:"
    )


def test_analysis_mode_evaluates_no_policy(stage: Stage) -> None:
    assert stage.create("analysis", thing("Pod", FAILING)).code == 201
    assert "is not analyzed" in stage.denial(stage.create("analysis", thing("Pod", PENDING)))


@pytest.mark.parametrize("kind", KINDS)
def test_enforcement_warn_admits_with_the_same_message(stage: Stage, kind: str) -> None:
    answer = stage.create("warned", thing(kind, FAILING, name="warned", replicas=0))

    assert answer.code == 201, answer.message
    assert [text.partition(" sha256:")[0] for text in answer.warnings] == [f"Image {FAILING} with digest"]


def test_skip_admits_in_silence(stage: Stage) -> None:
    answer = stage.create("skipped", thing("Pod", FAILING))

    assert (answer.code, answer.warnings) == (201, ())
