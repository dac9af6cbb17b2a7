"""A decision hook in a review: when it is asked, with what, in which time, and what its answer does."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from anchore_admission.core.decision import Decision
from anchore_admission.core.facts import Finding
from anchore_admission.core.hook import HookDecision, ImageOpinion
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.errors import HookError, HookUnavailable, HookUndefined
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.hooking import AT_ONCE, LARGE, LARGE_AT_ONCE, TRIAL_SECONDS
from support.builders import Json, pod, request, template
from support.fakes import settled
from support.hooks import FakeHook
from support.review_setup import APP, BAD, DEADLINE, ReviewSetup

OPA: Json = {"url": "unix:///run/opa/opa.sock"}
NO = HookDecision(deny=("no",))


def setup(
    *, decision: HookDecision = NO, opa: Json | None = None, mode: str = "strict", rules: Any = (), **more: Any
) -> tuple[ReviewSetup, FakeHook]:
    hook = FakeHook(lambda _document: decision)
    settings = {"defaults": {"mode": mode}, "rules": list(rules), "opa": {**OPA, **(opa or {})}, **more}
    stage = ReviewSetup(settings, hook=hook)
    stage.anchore.store(APP)
    stage.anchore.store(BAD)
    return stage, hook


async def test_the_hook_sees_facts_and_object() -> None:
    stage, hook = setup(decision=HookDecision())
    stage.fail_policy(BAD, Finding("vulnerabilities", "package", "CVE-1+ssl", "HIGH in ssl (fixed in: 2)(CVE-1)"))
    verdict = await stage.review(pod(APP, BAD, hostNetwork=True))
    assert not verdict.allowed  # by Anchore
    [document] = hook.documents
    assert document["request"]["object"]["spec"]["hostNetwork"] is True
    app, bad = document["images"]
    assert (app["reference"], app["verdict"]["decision"], app["evaluation"]["action"]) == (APP, "admit", "go")
    assert (bad["reference"], bad["verdict"]["decision"], bad["evaluation"]["action"]) == (BAD, "deny", "stop")
    assert [(each["severity"], each["id"], each["package"], each["fix"]) for each in bad["findings"]] == [
        ("HIGH", "CVE-1", "ssl", "2")
    ]
    assert document["anchoreAdmission"] == {"input": 1}


async def test_unchanged_images_are_listed_without_facts() -> None:
    stage, hook = setup(decision=HookDecision())
    await stage.review(pod(APP, BAD), old=pod(APP))
    [document] = hook.documents
    assert [(image["reference"], image["unchanged"], image["state"]) for image in document["images"]] == [
        (BAD, False, "analyzed"),
        (APP, True, None),
    ]
    unchanged = document["images"][1]
    assert (unchanged["answerAge"], unchanged["stale"], unchanged["exemptions"]) == (None, None, None)


async def test_an_objection_denies_what_anchore_admits() -> None:
    stage, _ = setup(decision=HookDecision(deny=("host network",), decision_id="d1"))
    verdict = await stage.review(pod(APP))
    assert (verdict.allowed, verdict.message) == (False, "policy anchore/admission: host network")
    assert verdict.hook is not None
    assert (verdict.hook.decision_id, verdict.hook.outcome) == ("d1", "denied")


async def test_an_objection_to_one_image() -> None:
    stage, _ = setup(decision=HookDecision(images=(ImageOpinion(APP, deny=("old",)),)))
    assert (await stage.review(pod(APP))).message == f"policy anchore/admission: image {APP}: old"


async def test_an_image_that_the_object_does_not_name_makes_the_answer_invalid() -> None:
    stage, _ = setup(decision=HookDecision(images=(ImageOpinion("app", deny=("old",)),)))
    verdict = await stage.review(pod(APP))
    assert verdict.hook is not None
    assert (verdict.allowed, verdict.hook.error) == (False, "hook_invalid")


async def test_an_objection_to_an_unchanged_image_has_no_effect() -> None:
    stage, _ = setup(decision=HookDecision(images=(ImageOpinion(APP, deny=("old",)),)))
    assert (await stage.review(pod(APP, BAD), old=pod(APP))).allowed


SKIPPED = {"name": "off", "match": {"images": ["*app*"]}, "mode": "skip"}
NOT_ASKED = {"name": "off", "match": {"images": ["*app*"]}, "opa": False}
EXEMPT = {"name": "all", "match": {"images": ["*app*"]}, "reason": "r", "owner": "o", "expires": "2026-12-31"}


@pytest.mark.parametrize(
    ("review", "more"),
    [
        (lambda stage: stage.review(pod(APP)), {"rules": [SKIPPED]}),
        (lambda stage: stage.review(pod(APP)), {"rules": [NOT_ASKED]}),
        (lambda stage: stage.review(pod(APP), old=pod(APP)), {}),
        (lambda stage: stage.review(pod(APP), operation="DELETE"), {}),
        (lambda stage: stage.review(pod(APP), subresource="status"), {}),
        (lambda stage: stage.review({"kind": "Pod", "spec": {"containers": "x"}}), {}),
        (lambda stage: stage.review({"kind": "Other", "apiVersion": "example.com/v1"}), {}),
    ],
    ids=["skip", "opa: false", "unchanged", "DELETE", "status", "unreadable", "unknown kind"],
)
async def test_requests_that_the_hook_is_not_asked_about(
    review: Callable[[ReviewSetup], Any], more: dict[str, Any]
) -> None:
    stage, hook = setup(**more)
    verdict: ReviewVerdict = await review(stage)
    assert hook.documents == []
    assert verdict.hook is None


async def test_an_exemption_lifts_an_objection() -> None:
    stage, hook = setup(exemptions=[EXEMPT])
    stage.now = 1_796_000_000
    exempt = await stage.review(pod(APP))
    assert exempt.allowed
    assert exempt.audit_annotations["hook"].startswith("not asked; exemption all: r (owner o")
    assert hook.documents == []
    mixed = await stage.review(pod(APP, BAD))
    assert not mixed.allowed
    [document] = hook.documents
    exemption = {"name": "all", "limited": False, "applied": False}  # Anchore admits the image
    assert [image["exemptions"] for image in document["images"]] == [[exemption], []]
    assert [(image["answerAge"], image["stale"]) for image in document["images"]] == [(0, False)] * 2


async def test_break_glass_that_lifts_an_objection_is_recorded() -> None:
    on_call = {
        "name": "on-call",
        "match": {"users": ["jane"]},
        "mode": "strict",
        "breakGlass": {"annotation": "e.org/x"},
    }
    stage, hook = setup(rules=[on_call])
    verdict = await stage.review(pod(APP, metadata={"annotations": {"e.org/x": "the shop is down"}}))
    assert (verdict.allowed, hook.documents) == (True, [])
    assert verdict.audit_annotations["hook"] == "not asked; break_glass on-call: the shop is down"


@pytest.mark.parametrize(
    ("new", "about"),
    [
        (pod(APP), {"old": pod(APP)}),
        (pod(APP), {"operation": "DELETE"}),
        (pod(APP), {"subresource": "status"}),
        ({"kind": "Other", "apiVersion": "example.com/v1"}, {}),
    ],
)
async def test_all_requests_are_asked_about_where_that_is_wanted(new: Any, about: dict[str, Any]) -> None:
    stage, hook = setup(opa={"requests": ["all"]})
    verdict = await stage.review(new, **about)
    assert (verdict.allowed, verdict.message) == (False, "policy anchore/admission: no")
    assert [document["images"] for document in hook.documents] == [[]]


async def test_a_mirror_pod_is_never_asked_about() -> None:
    stage, hook = setup(opa={"requests": ["all"]})
    mirror = pod(APP, metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}, nodeName="n1")
    verdict = await stage.review(mirror, user="system:node:n1", groups=("system:nodes",))
    assert (verdict.allowed, hook.documents) == (True, [])


async def test_too_many_images_are_denied_without_the_hook() -> None:
    stage, hook = setup(limits={"images": 1})
    assert not (await stage.review(pod(APP, BAD))).allowed
    assert hook.documents == []


@pytest.mark.parametrize(("on_error", "allowed"), [("deny", False), ("warn", True), ("allow", True)])
async def test_a_hook_that_fails(on_error: str, allowed: bool) -> None:
    stage, hook = setup(opa={"onError": on_error})

    def fails(_document: Any) -> HookDecision:
        raise HookUnavailable("connection refused")

    hook.decides = fails
    verdict = await stage.review(pod(APP))
    assert (verdict.allowed, verdict.decision) == (allowed, Decision.NO_VERDICT)
    assert verdict.hook is not None
    assert verdict.hook.error == "hook_unavailable"
    assert bool(verdict.warnings) is (on_error == "warn")


async def test_a_hook_that_fails_unexpectedly(caplog: pytest.LogCaptureFixture) -> None:
    stage, hook = setup()

    def fails(_document: Any) -> HookDecision:
        raise ZeroDivisionError

    hook.decides = fails
    verdict = await stage.review(pod(APP))
    assert (verdict.allowed, verdict.decision) == (False, Decision.NO_VERDICT)
    assert "asking policy anchore/admission failed unexpectedly" in caplog.text


async def test_a_hook_that_hangs_takes_its_own_time_only() -> None:
    stage, hook = setup(opa={"timeout": "2s"})
    hook.hanging = asyncio.Event()
    reviewing = asyncio.create_task(stage.review(pod(APP)))
    await stage.clock.advance(2)
    assert not reviewing.done()
    await stage.clock.advance(TRIAL_SECONDS)
    assert reviewing.done()
    verdict = await reviewing
    assert verdict.hook is not None
    assert (verdict.allowed, verdict.hook.error) == (False, "deadline_exceeded")
    assert verdict.message == "policy anchore/admission gave no decision: no response within 2 s (opa.timeout)"


async def test_an_object_that_takes_the_time_is_denied() -> None:
    """Its author may have arranged that."""
    stage, hook = setup(opa={"timeout": "2s", "onError": "allow"})
    hook.hanging = asyncio.Event()
    reviewing = asyncio.create_task(stage.review(pod(APP)))
    await stage.clock.advance(2)
    assert not reviewing.done()
    hook.hanging.set()
    verdict = await reviewing
    assert verdict.hook is not None
    assert (verdict.allowed, verdict.hook.error) == (False, "hook_failed")
    assert verdict.message == (
        "policy anchore/admission gave no decision: no response within 2 s about this object, but about others"
    )
    _, trial = hook.documents
    assert trial["request"]["object"]["kind"] == "Pod"
    assert trial["request"]["dryRun"] is True


@pytest.mark.parametrize(("error", "allowed"), [(HookUndefined, False), (HookUnavailable, True)])
async def test_any_answer_about_another_object_shows_that_opa_works(error: type[HookError], allowed: bool) -> None:
    stage, hook = setup(opa={"timeout": "2s", "onError": "allow"})
    hook.hanging = asyncio.Event()
    reviewing = asyncio.create_task(stage.review(pod(APP)))
    await stage.clock.advance(2)

    def fails(_document: Any) -> HookDecision:
        raise error("as the test wants it")

    hook.decides = fails
    hook.hanging.set()
    assert (await reviewing).allowed is allowed


async def test_lookups_leave_time_for_the_hook() -> None:
    stage, hook = setup(opa={"timeout": "2s", "onError": "allow"})
    stage.anchore.hang("by_tag")
    verdict = await stage.late_review(pod(APP), 6)
    assert len(hook.documents) == 1
    assert verdict.hook is not None
    assert verdict.hook.outcome == "denied"


async def test_passive_mode_only_warns() -> None:
    stage, _ = setup(mode="passive")
    stage = ReviewSetup(stage.settings, passive_wait=0, hook=stage.hook)
    verdict = await stage.review(pod(APP))
    assert verdict.allowed
    assert "policy anchore/admission: no" in verdict.warnings


async def test_a_template_is_only_warned_about() -> None:
    stage, _ = setup()
    verdict = await stage.review(template("Deployment", APP))
    assert verdict.allowed
    assert verdict.warnings == ("policy anchore/admission: no",)
    strict, _ = setup(workloads="deny")
    assert not (await strict.review(template("Deployment", APP))).allowed


async def test_reviews_by_hand_ask_too() -> None:
    stage, hook = setup()
    assert not (await stage.review(pod(APP), origin=Origin.MANUAL)).allowed
    assert len(hook.documents) == 1


async def test_one_namespace_takes_half_of_the_slots() -> None:
    stage, hook = setup(decision=HookDecision(), opa={"onError": "allow"})
    hook.hanging = asyncio.Event()
    crowd = [asyncio.create_task(stage.review(pod(APP))) for _ in range(AT_ONCE)]
    await stage.clock.advance(0)
    assert len(hook.documents) == AT_ONCE // 2
    hook.hanging.set()
    verdicts = await asyncio.gather(*crowd)
    assert all(verdict.allowed for verdict in verdicts)
    assert len(hook.documents) == AT_ONCE


async def test_a_crowd_waits_for_its_turn_and_is_denied_without_one() -> None:
    stage, hook = setup(opa={"onError": "allow"})
    hook.hanging = asyncio.Event()
    crowd = [asyncio.create_task(stage.review(pod(APP))) for _ in range(10 * AT_ONCE)]
    for _ in range(round(2 * DEADLINE)):
        await stage.clock.advance(0.5)
    verdicts = await asyncio.gather(*crowd)
    errors = Counter(verdict.hook.error for verdict in verdicts if verdict.hook)
    assert errors.keys() == {"deadline_exceeded", "hook_not_asked"}
    assert errors["deadline_exceeded"] >= 5 * AT_ONCE // 2
    assert [verdict.allowed for verdict in verdicts].count(False) == errors["hook_not_asked"]


async def test_other_namespaces_have_their_turn() -> None:
    stage, hook = setup(decision=HookDecision())
    hook.hanging = asyncio.Event()
    crowd = [asyncio.create_task(stage.review(pod(APP))) for _ in range(10 * AT_ONCE)]
    await stage.clock.advance(0)
    hook.hanging.set()
    other = asyncio.create_task(stage.review(pod(APP), namespace="other"))
    await settled()
    assert other.done()
    await asyncio.gather(*crowd)


async def test_reviews_are_answered_in_time_however_long_opa_may_take() -> None:
    stage, hook = setup(opa={"onError": "allow", "timeout": "10s"})
    hook.hanging = asyncio.Event()
    crowd = [asyncio.create_task(stage.review(pod(APP))) for _ in range(2 * AT_ONCE)]
    await stage.clock.advance(DEADLINE)
    assert sum(review.done() for review in crowd) == 2 * AT_ONCE
    await asyncio.gather(*crowd)


async def test_a_crowd_of_its_own_does_not_shorten_a_decision_to_none() -> None:
    stage, hook = setup(opa={"onError": "allow", "timeout": "8s"})
    hook.hanging = asyncio.Event()
    crowd = [asyncio.create_task(stage.review(pod(APP))) for _ in range(AT_ONCE)]
    await stage.clock.advance(3)
    first, hook.hanging = hook.hanging, asyncio.Event()
    first.set()
    await stage.clock.advance(DEADLINE)
    verdicts = await asyncio.gather(*crowd)
    assert len(hook.documents) == AT_ONCE
    assert Counter(verdict.hook.outcome for verdict in verdicts if verdict.hook) == {
        "denied": AT_ONCE // 2,
        "hook_not_asked": AT_ONCE // 2,
    }
    assert not any(verdict.allowed for verdict in verdicts)


def large(*images: str) -> Json:
    return pod(*images, metadata={"annotations": {"note": "x" * LARGE}})


async def test_an_object_that_is_too_large_to_decide_in_time_is_denied() -> None:
    stage, hook = setup(opa={"onError": "allow"})
    hook.hanging = asyncio.Event()
    verdict = await stage.late_review(large(APP), 1)
    assert verdict.hook is not None
    assert (verdict.allowed, verdict.hook.error) == (False, "hook_failed")


async def test_large_objects_of_others_make_no_way_for_a_large_one() -> None:
    stage, hook = setup(opa={"onError": "allow", "timeout": "8s"})
    hook.hanging = asyncio.Event()
    others = [
        asyncio.create_task(stage.review(large(APP), namespace=name)) for name in "ab" for _ in range(LARGE_AT_ONCE)
    ]
    await stage.clock.advance(0)
    assert len(hook.documents) == LARGE_AT_ONCE
    verdict = await stage.late_review(large(APP), 4)
    assert verdict.hook is not None
    assert (verdict.allowed, verdict.hook.error) == (False, "hook_not_asked")
    hook.hanging.set()
    await asyncio.gather(*others)


async def test_findings_make_a_document_large() -> None:
    images = [f"{APP}{number}" for number in range(9)]
    stage, hook = setup(opa={"onError": "allow"})
    findings = [Finding("vulnerabilities", "package", f"CVE-{number}", "m" * 300) for number in range(100)]
    for image in images:
        stage.anchore.store(image)
        stage.fail_policy(image, *findings)
    hook.hanging = asyncio.Event()
    crowd = [asyncio.create_task(stage.review(pod(*images))) for _ in range(AT_ONCE)]
    await stage.clock.advance(0)
    assert len(hook.documents) == LARGE_AT_ONCE // 2
    hook.hanging.set()
    await asyncio.gather(*crowd)


async def test_a_body_that_cannot_be_written_is_denied(caplog: pytest.LogCaptureFixture) -> None:
    stage, hook = setup(opa={"onError": "allow"})
    body: Any = [b"{}"]
    verdict = await stage.reviews.review(
        request(pod(APP)), stage.deadline(), origin=Origin.ADMISSION, body=lambda: body
    )
    assert verdict.hook is not None
    assert (verdict.allowed, verdict.hook.error, hook.documents) == (False, "hook_not_asked", [])
    assert "writing the document for policy anchore/admission failed unexpectedly" in caplog.text
