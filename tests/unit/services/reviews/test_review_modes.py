"""Every mode with every fact about an image, from the request to the response."""

from collections.abc import Callable

import pytest

from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.facts import AnalysisState, Finding, PolicyEvaluation, PolicyReason
from anchore_admission.errors import AnchoreRefused, AnchoreUnavailable
from support.builders import pod
from support.fakes import digest_of
from support.review_setup import APP, ReviewSetup, defaults

Arrange = Callable[[ReviewSetup], object]

IMAGE = f"Image {APP}"
KNOWN = f"{IMAGE} with digest {digest_of(APP)}"
PASSIVE = f"Image analysis for image {APP}"
AGAIN = "Analysis was requested: try again in a few minutes"
FAILED = PolicyEvaluation(
    passed=False,
    policy="admissionpolicy",
    findings=(
        Finding("dockerfile", "instruction", "x", "no HEALTHCHECK"),
        Finding("vulnerabilities", "package", "CVE-1+ssl", "CRITICAL Vulnerability (fixed in: 1.2)(CVE-1)"),
    ),
)


def stored(state: AnalysisState) -> Arrange:
    return lambda setup: setup.anchore.store(APP, state)


def judged(answer: PolicyEvaluation | AnalysisState) -> Arrange:
    def arrange(setup: ReviewSetup) -> None:
        setup.anchore.evaluate(setup.anchore.store(APP).digest, answer)

    return arrange


def failing(operation: str, error: Exception) -> Arrange:
    def arrange(setup: ReviewSetup) -> None:
        setup.anchore.store(APP)
        setup.anchore.fail(operation, error)

    return arrange


def unknown(_: ReviewSetup) -> None:
    """Anchore holds nothing."""


def passed(*, mapped: bool = True, reason: PolicyReason = PolicyReason.EVALUATION) -> Arrange:
    return judged(PolicyEvaluation(passed=True, policy="admissionpolicy", mapped=mapped, reason=reason))


OUTAGE = AnchoreUnavailable("cannot connect to Anchore")
PENDING = [AnalysisState.NOT_ANALYZED, AnalysisState.ANALYZING]


@pytest.mark.parametrize(
    ("arrange", "state"),
    [
        pytest.param(unknown, AnalysisState.NOT_ANALYZED, id="unknown"),
        *(pytest.param(stored(state), state, id=state.value) for state in PENDING),
        pytest.param(stored(AnalysisState.FAILED), AnalysisState.NOT_ANALYZED, id="failed is queued again"),
        pytest.param(stored(AnalysisState.ANALYZED), AnalysisState.ANALYZED, id="analyzed"),
        pytest.param(judged(FAILED), AnalysisState.ANALYZED, id="policy fails"),
    ],
)
async def test_passive_mode_requests_the_analysis_and_admits(arrange: Arrange, state: AnalysisState) -> None:
    setup = ReviewSetup(settings=defaults("passive"))
    arrange(setup)
    async with setup.running():
        verdict = await setup.review(pod(APP))

    assert (verdict.allowed, verdict.decision) == (True, Decision.ADMIT)
    assert verdict.message == f"{PASSIVE} requested and found mapped to digest {digest_of(APP)}"
    record = await setup.anchore.by_tag(APP, setup.deadline())
    assert record is not None
    assert (record.state, setup.submitted) == (state, [APP])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OUTAGE, "cannot connect to Anchore"),
        (AnchoreRefused("Anchore rejects the credentials"), "Anchore rejects the credentials"),
        (ZeroDivisionError(), "the request for analysis failed"),
    ],
    ids=["outage", "refused", "unexpected"],
)
@pytest.mark.parametrize("on_error", ["deny", "warn", "allow"])
async def test_passive_mode_admits_with_a_warning_whatever_on_error_says(
    error: Exception, text: str, on_error: str
) -> None:
    setup = ReviewSetup(settings=defaults("passive", onError=on_error))
    setup.anchore.fail("submit", error)
    async with setup.running():
        verdict = await setup.review(pod(APP))

    assert (verdict.allowed, verdict.decision) == (True, Decision.NO_VERDICT)
    assert verdict.warnings == (f"{PASSIVE} failed to be requested: {text}",)


@pytest.mark.parametrize(
    ("arrange", "reason", "message"),
    [
        pytest.param(unknown, Reason.UNKNOWN, f"{IMAGE} is not analyzed. {AGAIN}", id="unknown"),
        pytest.param(
            stored(AnalysisState.NOT_ANALYZED),
            Reason.PENDING,
            f"{KNOWN} is not analyzed: its analysis was requested and is queued, try again later",
            id="queued",
        ),
        pytest.param(
            stored(AnalysisState.ANALYZING),
            Reason.PENDING,
            f"{KNOWN} is not analyzed: its analysis is under way, try again in a few minutes",
            id="analyzing",
        ),
        pytest.param(
            stored(AnalysisState.FAILED),
            Reason.ANALYSIS_FAILED,
            f"{KNOWN} is not analyzed: Anchore failed to analyze it. {AGAIN}",
            id="failed",
        ),
    ],
)
@pytest.mark.parametrize("mode", ["analysis", "strict"])
async def test_an_image_that_is_not_analyzed_is_denied_and_submitted(
    mode: str, arrange: Arrange, reason: Reason, message: str
) -> None:
    setup = ReviewSetup(settings=defaults(mode))
    arrange(setup)
    async with setup.queued():
        verdict = await setup.review(pod(APP))

    if mode == "strict" and reason is Reason.UNKNOWN:
        message = f"{IMAGE} is not analyzed. Cannot evaluate policy. {AGAIN}"
    assert (verdict.allowed, verdict.decision, verdict.message) == (False, Decision.DENY, message)
    assert verdict.images[0].verdict.reason is reason
    assert setup.submitted == [APP]


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [
        pytest.param(stored(AnalysisState.ANALYZED), Reason.ANALYZED, id="analyzed"),
        pytest.param(judged(FAILED), Reason.ANALYZED, id="the policy is not asked"),
        pytest.param(failing("check", OUTAGE), Reason.ANALYZED, id="nor whether it can be evaluated"),
    ],
)
async def test_analysis_mode_admits_analyzed_images(arrange: Arrange, reason: Reason) -> None:
    setup = ReviewSetup(settings=defaults("analysis"))
    arrange(setup)
    verdict = await setup.review(pod(APP))

    assert (verdict.allowed, verdict.decision, verdict.message, verdict.warnings) == (True, Decision.ADMIT, "", ())
    assert verdict.images[0].verdict.reason is reason


UNMAPPED = f"{IMAGE} was not checked by policy bundle admissionpolicy: none of its mappings matches"


@pytest.mark.parametrize(
    ("arrange", "require_mapping", "allowed", "reason", "message", "warnings"),
    [
        pytest.param(passed(), True, True, Reason.POLICY_PASSED, "", (), id="passes"),
        pytest.param(passed(mapped=False), False, True, Reason.UNMAPPED, "", (UNMAPPED,), id="nothing mapped"),
        pytest.param(
            passed(mapped=False),
            True,
            False,
            Reason.UNMAPPED,
            f"{KNOWN} is not covered by policy bundle admissionpolicy: none of its mappings matches",
            (),
            id="nothing mapped, but required",
        ),
        pytest.param(
            passed(mapped=False, reason=PolicyReason.ALLOWLISTED),
            True,
            True,
            Reason.POLICY_PASSED,
            "",
            (),
            id="allow-listed needs no mapping",
        ),
        pytest.param(
            judged(FAILED),
            False,
            False,
            Reason.POLICY_FAILED,
            f"{KNOWN} failed policy checks for policy bundle admissionpolicy\n"
            "  CRITICAL CVE-1 in ssl, fixed in 1.2\n"
            "  dockerfile/instruction: no HEALTHCHECK",
            (),
            id="fails",
        ),
    ],
)
async def test_strict_mode_follows_the_policy(
    arrange: Arrange,
    *,
    require_mapping: bool,
    allowed: bool,
    reason: Reason,
    message: str,
    warnings: tuple[str, ...],
) -> None:
    setup = ReviewSetup(settings=defaults("strict", requireMapping=require_mapping))
    arrange(setup)
    verdict = await setup.review(pod(APP))

    assert (verdict.allowed, verdict.message, verdict.warnings) == (allowed, message, warnings)
    assert verdict.images[0].verdict.reason is reason


@pytest.mark.parametrize(
    ("mode", "arrange", "error"),
    [
        pytest.param("analysis", failing("by_tag", OUTAGE), "unavailable", id="analysis: no look-up"),
        pytest.param("strict", failing("by_tag", OUTAGE), "unavailable", id="strict: no look-up"),
        pytest.param("strict", failing("check", OUTAGE), "unavailable", id="strict: no check"),
        pytest.param("strict", failing("check", AnchoreRefused("401")), "refused", id="credentials"),
        pytest.param("strict", failing("check", ZeroDivisionError()), "evaluation", id="unexpected"),
        pytest.param(
            "strict",
            judged(PolicyEvaluation(passed=True, policy="p", problems=("TypeError",))),
            "policy_not_evaluated",
            id="problem",
        ),
    ],
)
@pytest.mark.parametrize(
    ("on_error", "enforcement", "allowed", "warned"),
    [
        ("deny", "deny", False, False),
        ("deny", "warn", True, True),
        ("deny", "audit", True, False),
        ("warn", "deny", True, True),
        ("warn", "warn", True, True),
        ("warn", "audit", True, False),
        ("allow", "deny", True, False),
        ("allow", "warn", True, False),
        ("allow", "audit", True, False),
    ],
)
async def test_no_verdict_is_for_on_error_and_then_enforcement(
    mode: str, arrange: Arrange, error: str, on_error: str, enforcement: str, *, allowed: bool, warned: bool
) -> None:
    setup = ReviewSetup(settings=defaults(mode, onError=on_error, enforcement=enforcement))
    arrange(setup)
    verdict = await setup.review(pod(APP))

    assert (verdict.allowed, bool(verdict.warnings)) == (allowed, warned)
    assert (verdict.decision, verdict.images[0].verdict.error) == (Decision.NO_VERDICT, error)
    annotations = dict(verdict.audit_annotations)
    assert (annotations["verdict"], annotations["errors"]) == ("no_verdict", f"{APP}: {error}")


@pytest.mark.parametrize(
    ("enforcement", "allowed", "warned"), [("deny", False, False), ("warn", True, True), ("audit", True, False)]
)
async def test_enforcement_never_changes_the_verdict_that_is_recorded(
    enforcement: str, *, allowed: bool, warned: bool
) -> None:
    setup = ReviewSetup(settings=defaults("strict", enforcement=enforcement))
    judged(FAILED)(setup)
    verdict = await setup.review(pod(APP))

    assert (verdict.allowed, bool(verdict.warnings)) == (allowed, warned)
    assert verdict.decision is Decision.DENY
    assert dict(verdict.audit_annotations)["verdict"] == "deny"


async def test_skipped_image_is_admitted_without_a_look() -> None:
    setup = ReviewSetup(settings=defaults("skip"))
    verdict = await setup.review(pod(APP))

    assert (verdict.allowed, verdict.message, verdict.warnings) == (True, "", ())
    assert verdict.images[0].verdict.reason is Reason.SKIPPED
    assert setup.operations == []
