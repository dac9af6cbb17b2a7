"""The effect of a hook's decision, by mode, enforcement, the handling of templates, and ``onError``."""

from itertools import product

import pytest
from msgspec import structs

from anchore_admission.core import judgement
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.hook import HOOK_OUTCOMES, HookDecision, HookVerdict, ImageOpinion
from anchore_admission.core.hook_verdict import concerned, decided, expect_known, undecided
from anchore_admission.core.messages import MESSAGE_LIMIT
from anchore_admission.core.verdict import ImageVerdict, Verdict
from anchore_admission.core.waivers import NO_WAIVERS
from anchore_admission.errors import (
    DeadlineExceeded,
    HookError,
    HookFailed,
    HookInvalid,
    HookNotAsked,
    HookUnavailable,
    HookUndefined,
)
from anchore_admission.models.configuration import Enforcement, ModeName, OnError, WorkloadHandling
from support.builders import image_verdict, pod, request, rule

POLICY = "anchore/admission"
ADMITTED = Verdict(Decision.ADMIT, Reason.POLICY_PASSED, "Image ubuntu passed")
REQUEST = request(pod("ubuntu"))
OBJECTION = HookDecision(deny=("host network",), warn=("no owner",))


def passed(image: str = "ubuntu", **by: object) -> ImageVerdict:
    return image_verdict(ADMITTED, image=image, by=rule(**by), effect=Effect.ALLOW)  # type: ignore[arg-type]


def on(
    decision: HookDecision, *images: ImageVerdict, handling: WorkloadHandling = WorkloadHandling.DENY
) -> HookVerdict:
    return decided(POLICY, decision, images, [image.judged.rule for image in images], handling)


def expected_effect(mode: ModeName, enforcement: Enforcement, handling: WorkloadHandling) -> Effect:
    if enforcement is Enforcement.AUDIT:
        return Effect.ALLOW
    can_deny = mode in {ModeName.ANALYSIS, ModeName.STRICT}
    denies = can_deny and enforcement is Enforcement.DENY and handling is WorkloadHandling.DENY
    return Effect.DENY if denies else Effect.WARN


CASES = list(
    product(
        (ModeName.PASSIVE, ModeName.ANALYSIS, ModeName.STRICT),
        Enforcement,
        (WorkloadHandling.DENY, WorkloadHandling.FINAL, WorkloadHandling.WARN),
    )
)


@pytest.mark.parametrize(("mode", "enforcement", "handling"), CASES)
def test_an_objection_to_the_object(mode: ModeName, enforcement: Enforcement, handling: WorkloadHandling) -> None:
    found = on(HookDecision(deny=("no",)), passed(mode=mode, enforcement=enforcement), handling=handling)
    assert found.effect is expected_effect(mode, enforcement, handling)
    assert found.decision is Decision.DENY  # recorded, whatever the effect
    assert found.lines == ("policy anchore/admission: no",)
    verdict = judgement.reduce([passed(mode=mode, enforcement=enforcement)], REQUEST, 5, hook=found)
    assert verdict.allowed is (found.effect is not Effect.DENY)
    assert verdict.decision is Decision.DENY
    assert verdict.reason is Reason.HOOK


@pytest.mark.parametrize(("mode", "enforcement", "handling"), CASES)
@pytest.mark.parametrize("on_error", OnError)
def test_no_decision(mode: ModeName, enforcement: Enforcement, handling: WorkloadHandling, on_error: OnError) -> None:
    rules = [rule(mode=mode, enforcement=enforcement)]
    found = undecided(POLICY, HookUndefined("it has no rule deny"), on_error, rules, handling)
    worst = {OnError.DENY: Effect.DENY, OnError.WARN: Effect.WARN, OnError.ALLOW: Effect.ALLOW}[on_error]
    by_rule = expected_effect(mode, enforcement, handling)
    least = [Effect.ALLOW, Effect.WARN, Effect.DENY]
    assert found.effect is min(worst, by_rule, key=least.index)
    assert (found.decision, found.error) == (Decision.NO_VERDICT, "hook_undefined")
    assert found.lines == ("policy anchore/admission gave no decision: it has no rule deny",)


@pytest.mark.parametrize("on_error", OnError)
@pytest.mark.parametrize("kind", [HookNotAsked, HookFailed])
def test_what_an_author_may_cause_is_a_denial(kind: type[HookError], on_error: OnError) -> None:
    found = undecided(POLICY, kind("too large"), on_error, [rule()], WorkloadHandling.DENY)
    assert (found.decision, found.effect) == (Decision.DENY, Effect.DENY)


def test_the_strictest_rule_counts_for_the_object() -> None:
    lax = passed("lax", mode=ModeName.PASSIVE)
    found = on(HookDecision(deny=("no",)), lax, passed("strict"))
    assert found.effect is Effect.DENY


def test_each_image_has_the_effect_of_its_own_rule() -> None:
    images = [passed("a"), passed("b", enforcement=Enforcement.WARN), passed("c", enforcement=Enforcement.AUDIT)]
    opinions = tuple(ImageOpinion(name, deny=("old",), warn=("hm",)) for name in "abc")
    found = on(HookDecision(images=opinions), *images)
    assert found.denials == ("policy anchore/admission: image a: old",)
    assert found.warnings == tuple(f"policy anchore/admission: image {about}" for about in ("a: hm", "b: old", "b: hm"))
    assert found.recorded == tuple(f"policy anchore/admission: image {about}" for about in ("c: old", "c: hm"))


def test_an_image_that_is_not_concerned_is_left_alone() -> None:
    found = on(HookDecision(images=(ImageOpinion("b", deny=("old",)),)), passed("a"))
    assert (found.effect, found.lines, found.decision) == (Effect.ALLOW, (), Decision.ADMIT)


def test_who_is_concerned() -> None:
    off = image_verdict(ADMITTED, by=structs.replace(rule(), uses_hook=False))
    skipped = passed(mode=ModeName.SKIP)
    assert concerned([off, skipped], NO_WAIVERS) == []
    denied = image_verdict()
    assert concerned([denied, passed(mode=ModeName.PASSIVE)], NO_WAIVERS) == [denied, passed(mode=ModeName.PASSIVE)]


def test_references_must_be_known() -> None:
    decision = HookDecision(images=(ImageOpinion("docker.io/library/ubuntu", deny=("old",)),))
    with pytest.raises(HookInvalid, match="names image docker"):
        expect_known(decision, ["ubuntu"])
    expect_known(decision, ["docker.io/library/ubuntu"])


def test_a_hook_never_admits() -> None:
    denied = image_verdict()
    verdict = judgement.reduce([denied], REQUEST, 5, hook=on(HookDecision(), denied))
    assert not verdict.allowed
    assert verdict.message == "Image ubuntu failed"
    assert verdict.audit_annotations["hook"] == "anchore/admission allowed"


def test_both_kinds_of_denial_are_named() -> None:
    denied = image_verdict()
    verdict = judgement.reduce([denied], REQUEST, 5, hook=on(OBJECTION, denied))
    assert verdict.message.splitlines() == ["Image ubuntu failed", "policy anchore/admission: host network"]
    assert verdict.warnings == ("policy anchore/admission: no owner",)
    assert verdict.reason is None  # the images are denied already


def test_long_objections_leave_room_for_images_and_each_other() -> None:
    long = HookDecision(deny=tuple(f"{number} {'x' * 1000}" for number in range(9)))
    denied = image_verdict(Verdict(Decision.DENY, Reason.POLICY_FAILED, "Image ubuntu failed " + "y" * 690))
    verdict = judgement.reduce([denied], REQUEST, 5, hook=on(long, denied))
    assert len(verdict.message) <= MESSAGE_LIMIT
    assert verdict.message.startswith("Image ubuntu failed")
    assert "policy anchore/admission: 0 x" in verdict.message
    assert verdict.message.endswith("and 8 more objections")
    alone = judgement.reduce([passed()], REQUEST, 5, hook=on(long, passed()))
    assert len(alone.message) <= MESSAGE_LIMIT
    assert alone.message.endswith("and 8 more objections")


def test_short_objections_are_all_named() -> None:
    verdict = judgement.reduce([passed()], REQUEST, 5, hook=on(HookDecision(deny=("a", "b", "a")), passed()))
    assert verdict.message == "policy anchore/admission: a\npolicy anchore/admission: b"


def test_warnings_of_the_hook_come_first_and_the_notice_last() -> None:
    warned = [
        image_verdict(structs.replace(ADMITTED, warning=f"w{number}"), image=f"i{number}", effect=Effect.WARN)
        for number in range(12)
    ]
    verdict = judgement.reduce(warned, REQUEST, 5, "ask us", on(HookDecision(warn=("first",)), *warned))
    assert verdict.warnings[0] == "policy anchore/admission: first"
    assert verdict.warnings[-1] == "ask us"
    assert len(verdict.warnings) == 10


def test_the_annotation_names_decision_and_objections() -> None:
    found = on(structs.replace(OBJECTION, decision_id="4ca6\n"), passed())
    verdict = judgement.reduce([passed()], REQUEST, 5, hook=found)
    assert verdict.audit_annotations["hook"] == (
        "anchore/admission denied, decision 4ca6?; policy anchore/admission: host network; "
        "policy anchore/admission: no owner"
    )
    assert verdict.audit_annotations["verdict"] == "deny"


def test_a_missing_decision_is_no_verdict_unless_something_is_denied() -> None:
    missing = undecided(POLICY, HookUnavailable("gone"), OnError.ALLOW, [rule()], WorkloadHandling.DENY)
    verdict = judgement.reduce([passed()], REQUEST, 5, hook=missing)
    assert (verdict.allowed, verdict.decision, verdict.reason) == (True, Decision.NO_VERDICT, Reason.HOOK)
    assert "gave no decision: gone" in verdict.audit_annotations["hook"]
    denied = judgement.reduce([image_verdict()], REQUEST, 5, hook=missing)
    assert (denied.allowed, denied.decision) == (False, Decision.DENY)


@pytest.mark.parametrize(
    "error",
    [
        HookUnavailable("x"),
        HookUndefined("x"),
        HookInvalid("x"),
        HookFailed("x"),
        HookNotAsked("x"),
        DeadlineExceeded("x"),
    ],
    ids=lambda error: error.code,
)
def test_every_outcome_is_known_to_the_metrics(error: HookError) -> None:
    found = undecided(POLICY, error, OnError.DENY, [rule()], WorkloadHandling.DENY)
    assert found.outcome in HOOK_OUTCOMES
    outcomes = {on(each, passed()).outcome for each in (HookDecision(), HookDecision(warn=("w",)), OBJECTION)}
    assert outcomes == set(HOOK_OUTCOMES[:3])
