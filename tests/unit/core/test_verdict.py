"""From the verdict to the response: onError, the handling of templates, enforcement, in this order."""

import pytest

from anchore_admission.core.decision import FINAL_REASONS, Decision, Effect, Reason
from anchore_admission.core.facts import ImageFacts, Submission, SubmissionState
from anchore_admission.core.verdict import Verdict, effect_of, worst_decision
from anchore_admission.models.configuration import Enforcement, ModeName, OnError, WorkloadHandling
from support.builders import DIGEST, OTHER_DIGEST, image_verdict, record, rule

ALLOW, WARN, DENY = Effect.ALLOW, Effect.WARN, Effect.DENY
AUTHORITATIVE = WorkloadHandling.DENY

_ADMITTED = Verdict(Decision.ADMIT, Reason.POLICY_PASSED, "m")
_ADMITTED_BUT = Verdict(Decision.ADMIT, Reason.UNMAPPED, "m", warning="w")
_REFUSED = Verdict(Decision.DENY, Reason.POLICY_FAILED, "m")
_UNKNOWN = Verdict(Decision.DENY, Reason.UNKNOWN, "m")
_UNTOLD = Verdict(Decision.NO_VERDICT, Reason.ERROR, "m", error="unavailable")


@pytest.mark.parametrize(
    ("verdict", "on_error", "enforcement", "effect"),
    [
        (_ADMITTED, OnError.DENY, Enforcement.DENY, ALLOW),
        (_ADMITTED, OnError.DENY, Enforcement.WARN, ALLOW),
        (_ADMITTED, OnError.DENY, Enforcement.AUDIT, ALLOW),
        (_ADMITTED_BUT, OnError.DENY, Enforcement.DENY, WARN),
        (_ADMITTED_BUT, OnError.DENY, Enforcement.WARN, WARN),
        (_ADMITTED_BUT, OnError.DENY, Enforcement.AUDIT, ALLOW),
        (_REFUSED, OnError.DENY, Enforcement.DENY, DENY),
        (_REFUSED, OnError.DENY, Enforcement.WARN, WARN),
        (_REFUSED, OnError.DENY, Enforcement.AUDIT, ALLOW),
        (_REFUSED, OnError.ALLOW, Enforcement.DENY, DENY),
        (_UNKNOWN, OnError.ALLOW, Enforcement.DENY, DENY),
        (_UNTOLD, OnError.DENY, Enforcement.DENY, DENY),
        (_UNTOLD, OnError.DENY, Enforcement.WARN, WARN),
        (_UNTOLD, OnError.DENY, Enforcement.AUDIT, ALLOW),
        (_UNTOLD, OnError.WARN, Enforcement.DENY, WARN),
        (_UNTOLD, OnError.WARN, Enforcement.WARN, WARN),
        (_UNTOLD, OnError.WARN, Enforcement.AUDIT, ALLOW),
        (_UNTOLD, OnError.ALLOW, Enforcement.DENY, ALLOW),
        (_UNTOLD, OnError.ALLOW, Enforcement.WARN, ALLOW),
        (_UNTOLD, OnError.ALLOW, Enforcement.AUDIT, ALLOW),
    ],
)
def test_a_pod(verdict: Verdict, on_error: OnError, enforcement: Enforcement, effect: Effect) -> None:
    judged_by = rule(on_error=on_error, enforcement=enforcement)
    assert effect_of(verdict, judged_by, AUTHORITATIVE) is effect


@pytest.mark.parametrize(
    ("reason", "final"),
    [
        (Reason.POLICY_FAILED, True),
        (Reason.UNMAPPED, True),
        (Reason.IMAGE_ID, True),
        (Reason.MALFORMED_REFERENCE, True),
        (Reason.UNREADABLE_OBJECT, True),
        (Reason.UNKNOWN, False),
        (Reason.PENDING, False),
        (Reason.ANALYSIS_FAILED, False),
        (Reason.ERROR, False),
    ],
)
def test_a_template_is_denied_for_reasons_that_time_does_not_fix(reason: Reason, final: bool) -> None:
    verdict = Verdict(Decision.NO_VERDICT if reason is Reason.ERROR else Decision.DENY, reason, "m")
    assert (reason in FINAL_REASONS) is final
    assert effect_of(verdict, rule(), WorkloadHandling.FINAL) is (DENY if final else WARN)
    assert effect_of(verdict, rule(), WorkloadHandling.DENY) is DENY
    assert effect_of(verdict, rule(), WorkloadHandling.WARN) is WARN


@pytest.mark.parametrize(
    ("verdict", "on_error", "enforcement", "handling", "effect"),
    [
        (_REFUSED, OnError.DENY, Enforcement.WARN, WorkloadHandling.FINAL, WARN),
        (_REFUSED, OnError.DENY, Enforcement.AUDIT, WorkloadHandling.FINAL, ALLOW),
        (_REFUSED, OnError.DENY, Enforcement.AUDIT, WorkloadHandling.WARN, ALLOW),
        (_UNKNOWN, OnError.DENY, Enforcement.AUDIT, WorkloadHandling.FINAL, ALLOW),
        (_UNKNOWN, OnError.DENY, Enforcement.WARN, WorkloadHandling.DENY, WARN),
        (_UNTOLD, OnError.ALLOW, Enforcement.DENY, WorkloadHandling.FINAL, ALLOW),
        (_UNTOLD, OnError.WARN, Enforcement.DENY, WorkloadHandling.DENY, WARN),
        (_UNTOLD, OnError.DENY, Enforcement.DENY, WorkloadHandling.FINAL, WARN),
        (_ADMITTED, OnError.DENY, Enforcement.DENY, WorkloadHandling.WARN, ALLOW),
        (_ADMITTED_BUT, OnError.DENY, Enforcement.DENY, WorkloadHandling.WARN, WARN),
    ],
)
def test_a_template_under_other_choices(
    verdict: Verdict, on_error: OnError, enforcement: Enforcement, handling: WorkloadHandling, effect: Effect
) -> None:
    assert effect_of(verdict, rule(on_error=on_error, enforcement=enforcement), handling) is effect


@pytest.mark.parametrize("on_error", OnError)
@pytest.mark.parametrize(
    ("enforcement", "effect"), [(Enforcement.DENY, WARN), (Enforcement.WARN, WARN), (Enforcement.AUDIT, ALLOW)]
)
def test_passive_mode_always_admits(on_error: OnError, enforcement: Enforcement, effect: Effect) -> None:
    judged_by = rule(mode=ModeName.PASSIVE, on_error=on_error, enforcement=enforcement)
    assert effect_of(_UNTOLD, judged_by, AUTHORITATIVE) is effect


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([], Decision.ADMIT),
        ([Decision.ADMIT, Decision.ADMIT], Decision.ADMIT),
        ([Decision.ADMIT, Decision.NO_VERDICT], Decision.NO_VERDICT),
        ([Decision.NO_VERDICT, Decision.DENY, Decision.ADMIT], Decision.DENY),
    ],
)
def test_the_worst_decision_stands_for_the_review(decisions: list[Decision], expected: Decision) -> None:
    assert worst_decision(decisions) is expected


@pytest.mark.parametrize(
    ("image", "facts", "digest"),
    [
        ("ubuntu", ImageFacts(), None),
        (f"ubuntu@{DIGEST}", ImageFacts(), DIGEST),
        ("ubuntu", ImageFacts(record()), DIGEST),
        (f"ubuntu@{OTHER_DIGEST}", ImageFacts(record()), DIGEST),
        ("ubuntu", ImageFacts(submission=Submission(SubmissionState.ANSWERED, digest=DIGEST)), DIGEST),
        (
            "ubuntu",
            ImageFacts(record(), submission=Submission(SubmissionState.ANSWERED, digest=OTHER_DIGEST)),
            DIGEST,
        ),
    ],
)
def test_the_digest_that_anchore_judged_comes_first(image: str, facts: ImageFacts, digest: str | None) -> None:
    assert image_verdict(image=image, facts=facts).digest == digest
