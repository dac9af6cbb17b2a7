import json
from collections.abc import Iterator
from typing import Any

import pytest

from anchore_admission.models.examples import UID
from anchore_admission.web.bodies import SMALL
from support.builders import pod_spec, review, workload
from support.webhook import POD_CREATE, REVIEWS, STRICT, Webhook

Json = dict[str, Any]
NO_IMAGES, UNCHANGED, UNKNOWN_KIND = "no images are looked for", "no image is new", "a warning"
V1 = "kubernetes-1.36"
DENIED = {
    "cronjob-create": "batch",
    "cronjob-update-image": "batch",
    "daemonset-create": "agent",
    "deployment-create": "nginx",
    "deployment-update-image": "nginx",
    "job-create": "batch",
    "job-create-owned": "batch",
    "pod-create": "nginx",
    "pod-create-apply": "nginx",
    "pod-create-by-replicaset": "nginx",
    "pod-create-dry-run": "nginx",
    "pod-create-escaped-text": "nginx",
    "pod-create-generate-name": "nginx",
    "pod-create-generate-name-mutating": "nginx",
    "pod-create-image-id": "sha256",
    "pod-create-image-volume": "nginx model",
    "pod-create-init-sidecar": "busybox proxy nginx",
    "pod-create-tag-and-digest": "nginx",
    "pod-ephemeralcontainers": "busybox",
    "pod-ephemeralcontainers-second": "tools",
    "pod-update-image": "nginx",
    "podtemplate-create": "nginx",
    "replicaset-create": "nginx",
    "replicationcontroller-create": "nginx",
    "statefulset-create": "postgres",
}
ADMITTED = {
    "custom-resource-create": UNKNOWN_KIND,
    "deployment-delete": NO_IMAGES,
    "deployment-scale": NO_IMAGES,
    "deployment-status": NO_IMAGES,
    "deployment-update-label": UNCHANGED,
    "namespace-update": UNKNOWN_KIND,
    "pod-binding": NO_IMAGES,
    "pod-connect-exec": NO_IMAGES,
    "pod-connect-portforward": NO_IMAGES,
    "pod-create-mirror": NO_IMAGES,
    "pod-delete": NO_IMAGES,
    "pod-eviction": NO_IMAGES,
    "pod-resize": NO_IMAGES,
    "pod-status": NO_IMAGES,
    "pod-update-being-deleted": NO_IMAGES,
    "pod-update-label": UNCHANGED,
    "replicaset-create-owned": NO_IMAGES,
    "replicationcontroller-scale": NO_IMAGES,
}
EXPECTED_AUDIT = {NO_IMAGES: "out-of-scope", UNCHANGED: "admit", UNKNOWN_KIND: "no_verdict"}


def stem(name: str) -> str:
    return name.rpartition("/")[2]


def images(value: Any) -> Iterator[str]:
    """Yield every image anywhere in a document."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else []):
        if key in {"image", "reference"} and isinstance(item, str):
            yield item
        else:
            yield from images(item)


@pytest.fixture
def webhook() -> Webhook:
    """A webhook in strict mode; every image of the reviews fails its policy."""
    webhook = Webhook()
    for body in REVIEWS.values():
        for image in images(json.loads(body)):
            tag, _, digest = image.partition("@")
            webhook.fail(f"{tag}-pinned" if digest else tag, digest)
    return webhook


def test_every_recorded_review_has_its_row() -> None:
    assert {stem(name) for name in REVIEWS} == {*DENIED, *ADMITTED}
    assert len(REVIEWS) > 90


@pytest.mark.parametrize("name", sorted(REVIEWS))
async def test_every_review_of_a_real_api_server_is_answered_as_it_accepts(name: str, webhook: Webhook) -> None:
    sent = json.loads(REVIEWS[name])
    answer = await webhook.validate(REVIEWS[name])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"apiVersion", "kind", "response"}
    assert (body["apiVersion"], body["kind"]) == (sent["apiVersion"], sent["kind"])
    assert body["response"]["uid"] == sent["request"]["uid"]
    assert set(body["response"]) <= {"uid", "allowed", "status", "warnings", "auditAnnotations"}
    assert webhook.recorder.malformed == []


@pytest.mark.parametrize("name", sorted(name for name in REVIEWS if stem(name) in DENIED))
async def test_images_that_fail_are_denied_wherever_they_stand(name: str, webhook: Webhook) -> None:
    response = await webhook.judged(REVIEWS[name])
    assert response["allowed"] is False
    assert {key: response["status"][key] for key in ("status", "code", "reason")} == {
        "status": "Failure",
        "code": 403,
        "reason": "Forbidden",
    }
    judged = [entry.partition(" ")[0] for entry in response["auditAnnotations"]["images"].split("; ")]
    assert " ".join(image.rpartition("/")[2].partition(":")[0] for image in judged) == DENIED[stem(name)]
    for image in judged:
        assert image in response["status"]["message"]
    why = "is an image ID" if stem(name) == "pod-create-image-id" else "failed policy checks for policy bundle active"
    assert response["status"]["message"].count(why) == len(judged)


@pytest.mark.parametrize("name", sorted(name for name in REVIEWS if stem(name) in ADMITTED))
async def test_an_update_without_a_new_image_is_admitted_without_a_query(name: str, webhook: Webhook) -> None:
    response = await webhook.judged(REVIEWS[name])
    why = ADMITTED[stem(name)]
    assert response["allowed"] is True
    assert "status" not in response
    assert response["auditAnnotations"]["verdict"] == EXPECTED_AUDIT[why]
    assert len(response.get("warnings", [])) == (1 if why is UNKNOWN_KIND else 0)
    assert webhook.anchore.calls == []


async def test_both_versions_come_to_the_same_verdict(webhook: Webhook) -> None:
    both = [name for name in REVIEWS if name.startswith(f"{V1}/v1beta1/")]
    assert len(both) > 40
    for name in both:
        v1, v1beta1 = await webhook.judged(REVIEWS[f"{V1}/{stem(name)}"]), await webhook.judged(REVIEWS[name])
        assert {**v1, "uid": ""} == {**v1beta1, "uid": ""}, name


async def test_nothing_is_requested_on_a_recorded_dry_run() -> None:
    webhook = Webhook()
    dry_run = await webhook.judged(REVIEWS[f"{V1}/pod-create-dry-run"])
    assert dry_run["status"]["message"].endswith(
        "Analysis was not requested: a dry run or a review by hand submits nothing"
    )
    assert webhook.recorder.depths == []
    real = await webhook.judged(POD_CREATE)
    assert "Analysis was requested" in real["status"]["message"]
    assert webhook.recorder.depths == [1]


async def test_a_denial_and_its_warnings_stay_within_the_limits_of_the_api_server() -> None:
    webhook = Webhook({"defaults": {"mode": "strict", "enforcement": "warn"}})
    many = [f"registry.example.com/{'é' * 60}/{number}\n\x00\x1b[31m:{'x' * 300}" for number in range(40)]
    body = review(workload("Pod", pod_spec(*many)))
    warned = await webhook.judged(body)
    assert warned["allowed"] is True
    assert len(warned["warnings"]) == 10
    assert warned["warnings"][-1] == "and 31 more warnings"
    assert all(len(warning) <= 250 and warning.isprintable() for warning in warned["warnings"])
    denied = await Webhook().judged(body)
    assert len(denied["status"]["message"]) <= 1000
    assert all(line.isprintable() for line in denied["status"]["message"].splitlines())
    for annotations in (warned["auditAnnotations"], denied["auditAnnotations"]):
        assert set(annotations) == {"verdict", "rules", "images"}
        assert all(len(value.encode()) <= 2048 and value.isprintable() for value in annotations.values())


@pytest.mark.parametrize("settings", [STRICT, {"defaults": {"mode": "passive"}}], ids=["strict", "passive"])
async def test_the_uid_comes_back_and_the_notice_stands_beside_images_only(settings: Json) -> None:
    webhook = Webhook({**settings, "messages": {"notice": "Ask #platform about this"}})
    answered = await webhook.judged(review(workload("Pod", pod_spec("ubuntu"))))
    assert answered["uid"] == UID
    assert answered["warnings"][-1] == "Ask #platform about this"
    deleted = await webhook.judged(review(None, operation="DELETE"))
    assert "warnings" not in deleted


def crowded() -> bytes:
    """A review of 24 KiB that takes 8 MiB of memory."""
    lists: Json = {field: [{}] * 2000 for field in ("initContainers", "containers", "ephemeralContainers", "volumes")}
    body = json.dumps(review({**workload("Pod", pod_spec("nginx")), "spec": lists}), separators=(",", ":")).encode()
    assert len(body) < SMALL
    return body


async def test_small_reviews_that_take_much_memory_share_the_room_of_large_ones() -> None:
    webhook = Webhook()
    bodies = webhook.surfaces.validate.bodies
    async with bodies.room(bodies.largest, 0.0):
        refused = (await webhook.validate(crowded(), query="timeout=1s")).json()["response"]
        plain = (await webhook.validate(POD_CREATE)).json()["response"]
    assert (refused["uid"], refused["allowed"]) == (UID, False)
    assert "holds too many large reviews at the moment; try again" in refused["status"]["message"]
    assert "too many" not in plain["status"]["message"]
    judged = (await webhook.validate(crowded())).json()["response"]
    assert "names no image" in judged["status"]["message"]
