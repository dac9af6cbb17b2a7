"""The mutating webhook as API servers call it: it pins what reviews would admit, and never denies."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.services.reviews.pinning import PIN_SECONDS
from support.builders import pod, review, template
from support.fakes import ManualClock, digest_of
from support.webhook import POD_CREATE, REVIEWS, Json, Webhook, failure, patched

APP = "registry.example.com/app"
LIST, AMD64 = digest_of("list"), digest_of("amd64")
PIN: Json = {"defaults": {"mode": "strict", "pin": "bestEffort"}}
V1 = "kubernetes-1.36"
PINNED = {
    "pod-create": ["/spec/containers/0/image"],
    "pod-create-apply": ["/spec/containers/0/image"],
    "pod-create-by-replicaset": ["/spec/containers/0/image"],
    "pod-create-escaped-text": ["/spec/containers/0/image"],
    "pod-create-generate-name": ["/spec/containers/0/image"],
    "pod-create-generate-name-mutating": ["/spec/containers/0/image"],
    "pod-create-image-volume": ["/spec/containers/0/image", "/spec/volumes/0/image/reference"],
    "pod-create-init-sidecar": [
        "/spec/initContainers/0/image",
        "/spec/initContainers/1/image",
        "/spec/containers/0/image",
    ],
    "pod-ephemeralcontainers": ["/spec/ephemeralContainers/0/image"],
    "pod-ephemeralcontainers-second": ["/spec/ephemeralContainers/1/image"],
    "pod-update-image": ["/spec/containers/0/image"],
}
"""The recorded reviews that are answered with a patch, and its paths."""
FORMS = {
    "tag": (f"{APP}:1", f"{APP}:1@{LIST}"),
    "none": (APP, f"{APP}:latest@{LIST}"),
    "digest": (f"{APP}@{AMD64}", ""),
    "tag and digest": (f"{APP}:1@{AMD64}", ""),
    "image ID": ("sha256:" + "a" * 64, ""),
    "malformed": ("UPPER:1", ""),
}
"""Image texts, and what they become; empty if they stay."""


@asynccontextmanager
async def stage(**more: Any) -> AsyncIterator[Webhook]:
    """A webhook whose Anchore holds ``APP`` as a manifest list."""
    webhook = Webhook(PIN, body_limit=256 * 1024, **more)
    for tag in ("1", "latest"):
        webhook.anchore.store(f"{APP}:{tag}", digest=AMD64, parent_digest=LIST)
    async with webhook.submitting():
        yield webhook


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    async with stage() as webhook:
        yield webhook


def holding(field: str, image: str, policy: str | None) -> Json:
    """A Pod that names an image in the second place of a field."""
    if field == "volumes":
        source = {"reference": image} | ({"pullPolicy": policy} if policy else {})
        return pod(f"{APP}@{AMD64}", volumes=[{"name": "data", "emptyDir": {}}, {"name": "model", "image": source}])
    container = {"name": "b", "image": image} | ({"imagePullPolicy": policy} if policy else {})
    return pod(f"{APP}@{AMD64}", **{field: [{"name": "a", "image": f"{APP}@{AMD64}"}, container]})


@pytest.mark.parametrize("policy", [None, "Always", "IfNotPresent", "Never"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("field", ["initContainers", "containers", "ephemeralContainers", "volumes"])
async def test_a_tag_is_pinned_wherever_it_stands_unless_it_is_never_pulled(
    field: str, form: str, policy: str | None, webhook: Webhook
) -> None:
    image, wanted = FORMS[form]
    if policy == "Never":
        wanted = ""
    body = holding(field, image, policy)
    response = await webhook.mutated(review(body))
    assert patched(body, response) == holding(field, wanted or image, policy)
    assert len(response["patch"]) == bool(wanted)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["PodTemplate", "Deployment", "StatefulSet", "Job", "CronJob"])
async def test_templates_keep_their_tags(kind: str, form: str, webhook: Webhook) -> None:
    response = await webhook.mutated(review(template(kind, FORMS[form][0])))
    assert (response["patch"], webhook.anchore.calls) == ([], [])


def recorded(name: str) -> tuple[Json, Json]:
    """The call of a recorded review, and its object."""
    call = json.loads(REVIEWS[name])
    return call, call["request"].get("object") or {}


def images_of(pod: Json) -> list[str]:
    spec = pod.get("spec") or {}
    fields = ("initContainers", "containers", "ephemeralContainers")
    found = [container["image"] for field in fields for container in spec.get(field) or ()]
    return found + [volume["image"]["reference"] for volume in spec.get("volumes") or () if "image" in volume]


@pytest.mark.parametrize("name", sorted(REVIEWS))
async def test_every_review_of_a_real_api_server_is_answered_as_it_accepts(name: str, webhook: Webhook) -> None:
    call, sent = recorded(name)
    stem = name.rpartition("/")[2]
    for image in images_of(sent):
        webhook.anchore.store(image.partition("@")[0])
    answer = await webhook.mutate(REVIEWS[name])
    assert (answer.json()["apiVersion"], answer.json()["kind"]) == (call["apiVersion"], "AdmissionReview")
    response = await webhook.mutated(REVIEWS[name])
    assert response["uid"] == call["request"]["uid"]
    # Before Kubernetes 1.22, ephemeral containers came as a kind of their own.
    is_pod = call["request"]["kind"]["kind"] == "Pod"
    assert [operation["path"] for operation in response["patch"]] == (PINNED.get(stem, []) if is_pod else [])
    patched(sent, response)
    assert webhook.recorder.malformed == []


def test_every_row_of_the_table_is_recorded() -> None:
    assert PINNED.keys() <= {name.rpartition("/")[2] for name in REVIEWS}


async def test_the_pinned_pod_is_not_pinned_again_and_judged_without_a_call(webhook: Webhook) -> None:
    body = pod(f"{APP}:1", f"{APP}:1", APP)
    result = patched(body, await webhook.mutated(review(body)))
    assert images_of(result) == [f"{APP}:1@{LIST}", f"{APP}:1@{LIST}", f"{APP}:latest@{LIST}"]
    asked = len(webhook.anchore.calls)
    assert (await webhook.mutated(review(result)))["patch"] == []
    assert (await webhook.judged(review(result)))["allowed"] is True
    assert webhook.anchore.calls[asked:] == []


async def test_audit_annotations_tell_what_was_pinned_and_what_was_not(webhook: Webhook) -> None:
    response = await webhook.mutated(review(holding("containers", f"{APP}:1", "Always")))
    assert response["auditAnnotations"] == {"pinned": f"containers/b={LIST}"}
    response = await webhook.mutated(review(holding("containers", f"{APP}:1", "Never")))
    assert response["auditAnnotations"] == {"not-pinned": "containers/b: its pull policy is Never"}


async def test_nothing_is_patched_in_the_spec_of_a_pod_that_is_debugged(webhook: Webhook) -> None:
    added = [{"name": "debug", "image": f"{APP}:1"}]
    body, old = pod(f"{APP}:1", ephemeralContainers=added), pod(f"{APP}:0")
    call = review(body, oldObject=old, operation="UPDATE", subResource="ephemeralcontainers")
    response = await webhook.mutated(call)
    assert [operation["path"] for operation in response["patch"]] == ["/spec/ephemeralContainers/0/image"]


async def test_an_update_keeps_the_digest(webhook: Webhook) -> None:
    old = pod(f"{APP}:1@{AMD64}", f"{APP}:0")
    response = await webhook.mutated(review(pod(f"{APP}:1", f"{APP}:0"), oldObject=old, operation="UPDATE"))
    assert patched(pod(f"{APP}:1", f"{APP}:0"), response) == old
    assert webhook.anchore.calls == []


async def test_a_dry_run_submits_nothing() -> None:
    webhook = Webhook(PIN)
    webhook.anchore.store(f"{APP}:1")
    response = await webhook.mutated(review(pod(f"{APP}:1"), dryRun=True))
    assert response["auditAnnotations"] == {
        "not-pinned": "containers/c1: its tag is not resolved now, because a dry run submits nothing"
    }
    assert webhook.recorder.depths == []


@pytest.mark.parametrize(
    ("query", "seconds"), [("timeout=3s", PIN_SECONDS), ("timeout=30s", PIN_SECONDS), ("", 1.0), ("timeout=1s", 0.2)]
)
@pytest.mark.parametrize("operation", ["by_tag", "submit"])
async def test_an_anchore_that_hangs_leaves_the_tag_in_time(operation: str, query: str, seconds: float) -> None:
    clock = ManualClock.of_loop()
    async with stage(pin_seconds=PIN_SECONDS, clock=clock) as webhook:
        webhook.anchore.hang(operation)
        mutating = asyncio.create_task(webhook.mutate(review(pod(f"{APP}:1")), query=query))
        await clock.advance(seconds - 0.1)
        assert not mutating.done()
        await clock.advance(0.1)
        assert mutating.done()
        response = (await mutating).json()["response"]
    assert response["allowed"] is True
    assert response["auditAnnotations"].keys() == {"not-pinned"}
    assert response.keys() == {"uid", "allowed", "auditAnnotations"}


async def test_an_anchore_that_is_down_leaves_the_tag(webhook: Webhook) -> None:
    webhook.anchore.fail_all(AnchoreUnavailable("no connection"))
    assert (await webhook.mutated(review(pod(f"{APP}:1"))))["patch"] == []


# Bodies


async def test_a_pod_that_is_too_large_to_be_decoded_whole_is_pinned(webhook: Webhook) -> None:
    filler = [{"name": f"f{n}", "image": f"{APP}@{AMD64}", "args": ["x" * 20_000]} for n in range(8)]
    body = pod("x", containers=[*filler, {"name": "app", "image": f"{APP}:1"}], initContainers=filler[:1])
    response = await webhook.mutated(review(body))
    assert [operation["path"] for operation in response["patch"]] == ["/spec/containers/8/image"]
    assert patched(body, response)["spec"]["containers"][:8] == filler


@pytest.mark.parametrize("size", [256 * 1024 + 1, 2 * 1024 * 1024])
async def test_a_review_over_the_limit_is_answered_without_a_patch(size: int, webhook: Webhook) -> None:
    assert await webhook.mutated(POD_CREATE.ljust(size)) == {
        "uid": json.loads(POD_CREATE)["request"]["uid"],
        "allowed": True,
        "patch": [],
    }
    assert webhook.recorder.malformed == []


@pytest.mark.parametrize("spec", [None, 1, {"containers": "none"}, {"containers": [{"image": 1}]}])
async def test_an_object_that_cannot_be_read_is_answered_without_a_patch(spec: Any, webhook: Webhook) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "demo"}, "spec": spec}
    assert (await webhook.mutated(review(body)))["patch"] == []


async def test_without_room_a_large_review_is_answered_without_a_patch(webhook: Webhook) -> None:
    bodies = webhook.surfaces.mutate.bodies
    assert bodies is webhook.surfaces.validate.bodies
    crowd = json.dumps(review(pod(f"{APP}:1", volumes=[{}] * 2000))).encode()
    async with bodies.room(bodies.largest, 0.0):
        full = (await webhook.mutate(crowd, query="timeout=1s")).json()["response"]
        assert (await webhook.mutated(review(pod(f"{APP}:1"))))["patch"]
    assert full == {"uid": json.loads(crowd)["request"]["uid"], "allowed": True}
    assert (await webhook.mutated(crowd))["patch"]


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"[]", b'{"apiVersion": "admission.k8s.io/v1"}', b"\xff"])
async def test_an_envelope_that_cannot_be_read_is_rejected(body: bytes, webhook: Webhook) -> None:
    answer = await webhook.mutate(body)
    assert failure(answer)[:2] == (400, "BadRequest")
    assert failure(answer) == failure(await webhook.validate(body))
    assert [code for code, _ in webhook.recorder.malformed] == ["malformed_review"] * 2


async def test_another_content_type_is_rejected(webhook: Webhook) -> None:
    answer = await webhook.http.post("/mutate", content=POD_CREATE, headers={"content-type": "text/plain"})
    assert failure(answer)[0] == 415
