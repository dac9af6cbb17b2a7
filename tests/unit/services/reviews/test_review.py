"""Whole reviews: the judged requests, their images, and the rules that apply."""

import asyncio
from typing import Any, Never

import pytest

from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import AnalysisState
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.telemetry import Origin, ReviewRecord
from anchore_admission.services.reviews.facts import FactGathering
from anchore_admission.services.reviews.judging import Judging
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from support.builders import UID, containers, pod, template
from support.fakes import FakeRecorder, settled
from support.review_setup import APP, BAD, REGISTRY, ReviewSetup, defaults

ANALYSIS = defaults("analysis")
WORKLOADS = ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"]
OWNER: dict[str, Any] = {"ownerReferences": [{"kind": "Deployment", "controller": True}]}
MIRROR = {"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "nodeName": "node-1"}
NODE = {"user": "system:node:node-1", "groups": ("system:nodes",)}


@pytest.fixture
async def setup() -> ReviewSetup:
    """Anchore has analyzed one image, and failed on another."""
    setup = ReviewSetup(settings=ANALYSIS)
    setup.anchore.store(APP)
    setup.anchore.store(BAD, AnalysisState.FAILED)
    return setup


def judged(verdict: ReviewVerdict) -> list[str]:
    return [image.judged.text for image in verdict.images]


@pytest.mark.parametrize(
    ("new", "old", "images"),
    [
        pytest.param(pod(APP, BAD), pod(APP), [BAD], id="one more"),
        pytest.param(pod(BAD), pod(APP), [BAD], id="changed"),
        pytest.param(pod(APP, metadata={"labels": {"a": "b"}}), pod(APP), [], id="labels only"),
        pytest.param(pod(BAD), pod(APP, initContainers=containers(BAD)), [], id="moved within the Pod"),
        pytest.param(pod(f"{REGISTRY}/app"), pod(f"{REGISTRY}/app:latest"), [f"{REGISTRY}/app"], id="other spelling"),
        pytest.param(pod(APP, BAD), {"spec": "unreadable"}, [APP, BAD], id="unreadable old object"),
        pytest.param(pod(APP, BAD), {"metadata": {}}, [APP, BAD], id="old object without a spec"),
    ],
)
async def test_update_is_judged_by_its_new_images(setup: ReviewSetup, new: Any, old: Any, images: list[str]) -> None:
    verdict = await setup.review(new, old=old)

    assert judged(verdict) == images
    assert verdict.allowed is (images == [])
    assert len(setup.anchore.subjects("by_tag")) == len(images)


async def test_ephemeral_container_is_judged(setup: ReviewSetup) -> None:
    old = pod(APP)
    new = pod(APP, ephemeralContainers=[{"name": "debug", "image": BAD}])
    verdict = await setup.review(new, old=old, subresource="ephemeralcontainers")

    assert (verdict.allowed, judged(verdict)) == (False, [BAD])


@pytest.mark.parametrize(
    ("more", "out_of_scope"),
    [
        ({"operation": "DELETE"}, OutOfScope.OPERATION),
        ({"operation": "CONNECT"}, OutOfScope.OPERATION),
        ({"subresource": "status"}, OutOfScope.SUBRESOURCE),
        ({"subresource": "binding"}, OutOfScope.SUBRESOURCE),
    ],
    ids=str,
)
async def test_requests_that_start_no_container_are_admitted_silently(
    setup: ReviewSetup, more: dict[str, str], out_of_scope: OutOfScope
) -> None:
    verdict = await setup.review(pod(BAD), operation=more.get("operation", ""), subresource=more.get("subresource"))

    assert (verdict.allowed, verdict.out_of_scope, verdict.warnings) == (True, out_of_scope, ())
    assert setup.operations == []


async def test_object_that_is_being_deleted_is_admitted(setup: ReviewSetup) -> None:
    new = pod(BAD, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})

    assert (await setup.review(new, old=pod(BAD))).out_of_scope is OutOfScope.BEING_DELETED
    assert not (await setup.review(new, old=pod(APP))).allowed, "its images change"
    assert not (await setup.review(new)).allowed, "nothing is created as deleted"


@pytest.mark.parametrize(
    ("new", "more", "mirror"),
    [
        pytest.param(pod(BAD, **MIRROR), NODE, True, id="by its node"),
        pytest.param(pod(BAD, **MIRROR), {}, False, id="by a user"),
        pytest.param(pod(BAD, **MIRROR), {"groups": ("system:nodes",)}, False, id="by a user in the group"),
        pytest.param(pod(BAD, **MIRROR), {**NODE, "groups": ()}, False, id="by a user of that name"),
        pytest.param(pod(BAD, **MIRROR), {**NODE, "user": "system:node:node-2"}, False, id="by another node"),
        pytest.param(pod(BAD, nodeName="node-1"), NODE, False, id="without the annotation"),
    ],
)
async def test_mirror_pod_is_admitted_when_its_node_makes_it(
    setup: ReviewSetup, new: Any, more: dict[str, Any], *, mirror: bool
) -> None:
    verdict = await setup.review(new, **more)

    assert (verdict.allowed, verdict.out_of_scope) == (mirror, OutOfScope.MIRROR_POD if mirror else None)


@pytest.mark.parametrize("mode", ["analysis", "strict"])
@pytest.mark.parametrize("image", ["registry.example.com/private:1", BAD])
async def test_job_of_a_cron_job_is_denied_at_once(mode: str, image: str) -> None:
    setup = ReviewSetup(settings=defaults(mode))
    setup.anchore.store(BAD, AnalysisState.FAILED)
    owner: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "controller": True}
    verdict = await setup.review(template("Job", image, metadata={"ownerReferences": [owner]}))

    assert (verdict.allowed, judged(verdict)) == (False, [image])


async def test_owned_replica_set_is_left_to_its_pods(setup: ReviewSetup) -> None:
    verdict = await setup.review(template("ReplicaSet", BAD, metadata=OWNER))

    assert (verdict.out_of_scope, setup.operations) == (OutOfScope.OWNED, [])


async def test_owner_excuses_no_pod(setup: ReviewSetup) -> None:
    assert not (await setup.review(pod(BAD, metadata=OWNER))).allowed


@pytest.mark.parametrize("field", ["initContainers", "ephemeralContainers", "volumes", "containers"])
async def test_list_that_is_null_is_empty(setup: ReviewSetup, field: str) -> None:
    verdict = await setup.review(pod(*([] if field == "containers" else [APP]), **{field: None}))
    assert verdict.allowed


@pytest.mark.parametrize("image", ["", None])
async def test_empty_image_is_denied_in_a_pod_and_ignored_in_a_template(setup: ReviewSetup, image: str | None) -> None:
    verdict = await setup.review(pod(APP, image))
    assert (verdict.allowed, verdict.message) == (False, 'containers "c2" names no image')

    verdict = await setup.review(template("Deployment", APP, image))
    assert (verdict.allowed, judged(verdict), verdict.warnings) == (True, [APP], ())


async def test_image_that_stands_often_is_judged_once(setup: ReviewSetup) -> None:
    verdict = await setup.review(pod(*[APP, BAD] * 500, initContainers=containers(BAD)))

    assert judged(verdict) == [BAD, APP]
    assert sorted(setup.operations) == ["by_tag", "by_tag"]


async def test_thousand_images_are_each_looked_up_once() -> None:
    setup = ReviewSetup(settings={**ANALYSIS, "limits": {"images": 1000}})
    images = [f"{REGISTRY}/app:{number}" for number in range(1000)]
    verdict = await setup.review(pod(*images, *images))

    assert not verdict.allowed
    assert (judged(verdict), setup.anchore.subjects("by_tag")) == (images, images)


@pytest.mark.parametrize(
    ("choice", "allowed", "warned"), [("allow", True, False), ("warn", True, True), ("deny", False, False)]
)
async def test_unknown_kind_is_handled_as_configured(choice: str, *, allowed: bool, warned: bool) -> None:
    setup = ReviewSetup(settings={**ANALYSIS, "unknownKinds": choice})
    verdict = await setup.review({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"})

    text = "images in objects of kind argoproj.io/Rollout cannot be checked: the kind is not known"
    assert (verdict.allowed, verdict.reason) == (allowed, Reason.UNKNOWN_KIND)
    assert verdict.message == ("" if allowed else text)
    assert verdict.warnings == ((text,) if warned else ())


async def test_object_that_cannot_be_read_is_denied(setup: ReviewSetup) -> None:
    verdict = await setup.review({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": "many"}})

    assert (verdict.allowed, verdict.reason) == (False, Reason.UNREADABLE_OBJECT)
    assert verdict.message.startswith("the object cannot be read: spec.containers: ")


POLICY_FAILS, UNKNOWN, IMAGE_ID, MALFORMED = BAD, f"{REGISTRY}/new:1", f"sha256:{'a' * 64}", "Nginx"

LOWER_CASE = "is not a valid image reference: its repository name must be lower case"


@pytest.mark.parametrize("image", [POLICY_FAILS, UNKNOWN, IMAGE_ID, MALFORMED])
@pytest.mark.parametrize("workloads", ["final", "deny", "warn", "off"])
@pytest.mark.parametrize("kind", [*WORKLOADS, "Pod"])
async def test_workloads_are_handled_as_configured_and_pods_always_judged(
    kind: str, workloads: str, image: str
) -> None:
    setup = ReviewSetup(settings={**defaults("strict"), "workloads": workloads})
    setup.anchore.store(BAD)
    setup.fail_policy(BAD)
    verdict = await setup.review(pod(image) if kind == "Pod" else template(kind, image))

    denied = kind == "Pod" or workloads == "deny" or (workloads == "final" and image != UNKNOWN)
    assert verdict.allowed is not denied
    assert bool(verdict.warnings) is (not denied and workloads != "off")
    assert (verdict.out_of_scope is OutOfScope.WORKLOADS_OFF) is (kind != "Pod" and workloads == "off")


@pytest.mark.parametrize(
    ("mode", "allowed", "warned"),
    [("passive", True, True), ("skip", True, True), ("analysis", False, False), ("strict", False, False)],
)
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            IMAGE_ID,
            f'containers "c1": image {IMAGE_ID} is an image ID, which Anchore cannot check; name a repository',
        ),
        (
            MALFORMED,
            f'containers "c1": image {MALFORMED} {LOWER_CASE}',
        ),
    ],
    ids=["image ID", "malformed"],
)
async def test_an_image_that_anchore_cannot_read_is_handled_by_the_mode(
    mode: str, image: str, message: str, *, allowed: bool, warned: bool
) -> None:
    setup = ReviewSetup(settings=defaults(mode))
    verdict = await setup.review(pod(image))

    assert (verdict.allowed, message in verdict.warnings) == (allowed, warned)
    assert message in (*verdict.warnings, verdict.message)
    assert setup.operations == []


async def test_images_of_one_pod_fall_under_different_rules() -> None:
    rules = [
        {"name": "platform", "match": {"images": ["registry.example.com/platform/*"]}, "mode": "skip"},
        {"name": "team", "match": {"images": ["registry.example.com/bad:*"]}, "mode": "strict", "account": "other"},
    ]
    setup = ReviewSetup(settings={**ANALYSIS, "rules": rules})
    setup.anchore.store(APP)
    setup.other.store(BAD)
    setup.fail_policy(BAD)
    verdict = await setup.review(pod(f"{REGISTRY}/platform/proxy", APP, BAD))

    assert [(i.judged.rule.name, i.verdict.reason) for i in verdict.images] == [
        ("platform", Reason.SKIPPED),
        ("defaults", Reason.ANALYZED),
        ("team", Reason.POLICY_FAILED),
    ]
    assert not verdict.allowed
    assert verdict.audit_annotations["rules"] == "team; platform; defaults"
    assert (setup.anchore.subjects("by_tag"), setup.other.subjects("by_tag")) == ([APP], [BAD])


async def test_response_at_the_deadline_names_known_and_unknown_facts() -> None:
    setup = ReviewSetup(settings=ANALYSIS)
    setup.anchore.store(BAD, AnalysisState.FAILED)
    setup.anchore.hang("by_tag", subject=APP)
    verdict = await setup.late_review(pod(BAD, APP))

    assert (verdict.allowed, verdict.decision) == (False, Decision.DENY)
    bad, hanging = verdict.message.splitlines()
    assert bad.startswith(f"Image {BAD} with digest")
    assert hanging == f"Image {APP} could not be checked: no response before the deadline"
    assert setup.recorder.reviews[0].seconds == pytest.approx(8)


class BrokenGathering(FactGathering):
    async def facts(self, *_: object, **__: object) -> Never:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("on_error", "allowed", "warned"), [("deny", False, False), ("warn", True, True), ("allow", True, False)]
)
async def test_unexpected_exception_is_for_the_default_rules_on_error(
    on_error: str, caplog: pytest.LogCaptureFixture, *, allowed: bool, warned: bool
) -> None:
    setup = ReviewSetup(settings=defaults("strict", onError=on_error))
    rules = CurrentRules(Rules.of(Configuration.model_validate(setup.settings)))
    broken = BrokenGathering(setup.memory, setup.submissions, setup.recorder, concurrency=1, passive_wait=0)
    setup.reviews = Reviews(rules, Judging(broken), setup.recorder)
    verdict = await setup.review(pod(APP))

    text = "the review failed unexpectedly, see the controller's log"
    assert (verdict.allowed, verdict.decision) == (allowed, Decision.NO_VERDICT)
    assert (verdict.message, verdict.warnings) == ("" if allowed else text, (text,) if warned else ())
    assert f"review {UID} failed unexpectedly" in caplog.text
    assert [record.verdict for record in setup.recorder.reviews] == [verdict]


class BrokenRecorder(FakeRecorder):
    def review(self, record: ReviewRecord) -> None:
        raise ZeroDivisionError(record)


async def test_many_images_hold_up_no_other_review() -> None:
    setup = ReviewSetup(settings=defaults("skip"))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await setup.review(pod(*(f"{APP}-{number}" for number in range(200))))
    task.cancel()
    assert turns >= 100


async def test_verdict_does_not_depend_on_its_record() -> None:
    setup = ReviewSetup(settings=ANALYSIS, recorder=BrokenRecorder())
    setup.anchore.store(APP)
    setup.anchore.store(BAD, AnalysisState.FAILED)

    assert (await setup.review(pod(APP))).allowed
    assert not (await setup.review(pod(BAD))).allowed


async def test_review_that_is_cancelled_leaves_no_record(setup: ReviewSetup) -> None:
    """The API server disconnects when its own timeout is over."""
    setup.anchore.hang("by_tag")
    review = asyncio.create_task(setup.review(pod(APP, BAD, "nginx")))
    await settled()
    review.cancel()
    await settled()

    assert review.cancelled()
    assert setup.recorder.reviews == []


@pytest.mark.parametrize(
    ("metadata", "name"),
    [({"name": "web-1"}, "web-1"), ({"name": None, "generateName": "web-"}, "web-*"), ({"name": None}, "")],
)
async def test_review_is_recorded(setup: ReviewSetup, metadata: dict[str, str | None], name: str) -> None:
    verdict = await setup.review(pod(APP, metadata=metadata), dry_run=True, origin=Origin.MANUAL)

    assert setup.recorder.reviews == [
        ReviewRecord(
            Origin.MANUAL, UID, "CREATE", "Pod", "shop", name, "jane", dry_run=True, verdict=verdict, seconds=0
        )
    ]
    assert [image.effect for image in verdict.images] == [Effect.ALLOW]
