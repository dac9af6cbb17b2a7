"""Every fact under every mode: decision, reason and message."""

import pytest

from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.facts import (
    AnalysisState,
    Finding,
    ImageFacts,
    PolicyEvaluation,
    PolicyReason,
    Submission,
    SubmissionState,
)
from anchore_admission.core.modes import MODES, Needs
from anchore_admission.core.reference import parse
from anchore_admission.core.verdict import Verdict
from anchore_admission.errors import (
    AnchoreBusy,
    AnchoreResponseTooLarge,
    AnchoreUnavailable,
    DeadlineExceeded,
    ImageNotReached,
    PolicyNotFound,
)
from anchore_admission.models.configuration import ModeName
from support.builders import DIGEST, failed, record, rule, vulnerability

PASSIVE, ANALYSIS, STRICT, SKIP = ModeName.PASSIVE, ModeName.ANALYSIS, ModeName.STRICT, ModeName.SKIP
ADMIT, DENY, NO_VERDICT = Decision.ADMIT, Decision.DENY, Decision.NO_VERDICT

_CANNOT_PULL = "Anchore cannot pull it: registry needs credentials"
ASKED = Submission(SubmissionState.REQUESTED)
ANSWERED = Submission(SubmissionState.ANSWERED, digest=DIGEST)
REFUSED = Submission(SubmissionState.REFUSED, reason=_CANNOT_PULL)
DROPPED = Submission(SubmissionState.DROPPED)
DRY_RUN = Submission(SubmissionState.DRY_RUN)

_LATER = "Analysis was requested: try again in a few minutes"
_BEING = "Image analysis for image ubuntu is being requested: Anchore has not responded yet"
_QUEUED = "its analysis was requested and is queued, try again later"
_RUNNING = "its analysis is under way, try again in a few minutes"
_WITH = f"Image ubuntu with digest {DIGEST}"
_HUGE = AnchoreResponseTooLarge("larger than 16777216 bytes")
_DOWN = AnchoreUnavailable("Anchore does not answer")


def _judge(mode: ModeName, facts: ImageFacts, *, image: str = "ubuntu", require_mapping: bool = False) -> Verdict:
    return MODES[mode].judge(image, parse(image), facts, rule(mode=mode, require_mapping=require_mapping))


def _facts(state: AnalysisState, submission: Submission | None = None) -> ImageFacts:
    return ImageFacts(record(state), submission=submission or Submission())


def _checked(evaluation: PolicyEvaluation) -> ImageFacts:
    return ImageFacts(record(), (evaluation,))


def _passing(*, mapped: bool = True, reason: PolicyReason = PolicyReason.EVALUATION) -> PolicyEvaluation:
    return PolicyEvaluation(passed=True, policy="admissionpolicy", mapped=mapped, reason=reason)


@pytest.mark.parametrize(
    ("mode", "needs"),
    [
        (SKIP, Needs()),
        (PASSIVE, Needs(awaits_submission=True)),
        (ANALYSIS, Needs(record=True)),
        (STRICT, Needs(record=True, evaluation=True)),
    ],
)
def test_a_mode_queries_only_the_facts_it_needs(mode: ModeName, needs: Needs) -> None:
    assert MODES[mode].needs == needs


@pytest.mark.parametrize(
    ("facts", "decision", "reason", "message"),
    [
        (
            ImageFacts(submission=ANSWERED),
            ADMIT,
            Reason.REQUESTED,
            f"Image analysis for image ubuntu requested and found mapped to digest {DIGEST}",
        ),
        (ImageFacts(submission=ASKED), ADMIT, Reason.REQUESTED, _BEING),
        (
            ImageFacts(submission=DRY_RUN),
            ADMIT,
            Reason.REQUESTED,
            "Image analysis for image ubuntu not requested: a dry run or a review by hand submits nothing",
        ),
        (
            ImageFacts(),
            ADMIT,
            Reason.REQUESTED,
            "Image analysis for image ubuntu not requested: requestAnalysis is false",
        ),
        (
            ImageFacts(submission=REFUSED),
            NO_VERDICT,
            Reason.ERROR,
            f"Image analysis for image ubuntu failed to be requested: {_CANNOT_PULL}",
        ),
        (
            ImageFacts(submission=DROPPED),
            NO_VERDICT,
            Reason.ERROR,
            "Image analysis for image ubuntu not requested: too many images are waiting to be submitted",
        ),
    ],
    ids=["answered", "requested", "dry run", "not asked", "refused", "dropped"],
)
def test_passive_mode(facts: ImageFacts, decision: Decision, reason: Reason, message: str) -> None:
    verdict = _judge(PASSIVE, facts)
    assert (verdict.decision, verdict.reason, verdict.message) == (decision, reason, message)
    assert verdict.error == (facts.submission.state if decision is NO_VERDICT else "")


@pytest.mark.parametrize(
    ("facts", "decision", "reason", "message"),
    [
        (ImageFacts(), DENY, Reason.UNKNOWN, "{unknown}. It has to be added to Anchore first"),
        (ImageFacts(submission=ASKED), DENY, Reason.UNKNOWN, f"{{unknown}}. {_LATER}"),
        (ImageFacts(submission=ANSWERED), DENY, Reason.UNKNOWN, f"{{unknown}}. {_LATER}"),
        (
            ImageFacts(submission=DRY_RUN),
            DENY,
            Reason.UNKNOWN,
            "{unknown}. Analysis was not requested: a dry run or a review by hand submits nothing",
        ),
        (
            ImageFacts(submission=DROPPED),
            DENY,
            Reason.UNKNOWN,
            "{unknown}. Too many images are waiting to be submitted: try again in a few minutes",
        ),
        (
            ImageFacts(submission=REFUSED),
            DENY,
            Reason.UNKNOWN,
            f"{{unknown}}. {_CANNOT_PULL}",
        ),
        (
            _facts(AnalysisState.NOT_ANALYZED),
            DENY,
            Reason.PENDING,
            f"{_WITH} is not analyzed: {_QUEUED}",
        ),
        (_facts(AnalysisState.ANALYZING), DENY, Reason.PENDING, f"{_WITH} is not analyzed: {_RUNNING}"),
        (
            _facts(AnalysisState.FAILED, ASKED),
            DENY,
            Reason.ANALYSIS_FAILED,
            f"{_WITH} is not analyzed: Anchore failed to analyze it. {_LATER}",
        ),
        (
            _facts(AnalysisState.FAILED, REFUSED),
            DENY,
            Reason.ANALYSIS_FAILED,
            f"{_WITH} is not analyzed: Anchore failed to analyze it. {_CANNOT_PULL}",
        ),
        (
            ImageFacts(error=_DOWN),
            NO_VERDICT,
            Reason.ERROR,
            "Image ubuntu could not be checked: Anchore does not answer",
        ),
    ],
    ids=[
        "unknown",
        "unknown, requested",
        "unknown, answered",
        "unknown, dry run",
        "unknown, dropped",
        "unknown, refused",
        "queued",
        "analyzing",
        "analysis failed",
        "analysis failed, refused",
        "error",
    ],
)
@pytest.mark.parametrize(
    ("mode", "unknown"),
    [(ANALYSIS, "Image ubuntu is not analyzed"), (STRICT, "Image ubuntu is not analyzed. Cannot evaluate policy")],
)
def test_an_image_that_is_not_analyzed(
    *, mode: ModeName, unknown: str, facts: ImageFacts, decision: Decision, reason: Reason, message: str
) -> None:
    verdict = _judge(mode, facts)
    assert (verdict.decision, verdict.reason) == (decision, reason)
    assert verdict.message == message.format(unknown=unknown)
    assert verdict.error == ("unavailable" if decision is NO_VERDICT else "")


@pytest.mark.parametrize(
    "facts",
    [_facts(AnalysisState.ANALYZED), _checked(failed(vulnerability())), ImageFacts(record(), error=_DOWN)],
    ids=["analyzed", "policy fails", "error beside the record"],
)
def test_analysis_mode_admits_analyzed_images(facts: ImageFacts) -> None:
    verdict = _judge(ANALYSIS, facts)
    assert verdict == Verdict(ADMIT, Reason.ANALYZED, f"{_WITH} is analyzed")


@pytest.mark.parametrize("state", [AnalysisState.NOT_ANALYZED, AnalysisState.ANALYZING, AnalysisState.FAILED])
@pytest.mark.parametrize("mode", [ANALYSIS, STRICT])
def test_a_state_that_is_known_counts_although_something_else_failed(mode: ModeName, state: AnalysisState) -> None:
    assert _judge(mode, ImageFacts(record(state), error=_DOWN)).decision is DENY


_FAILED = f"{_WITH} failed policy checks for policy bundle admissionpolicy"
_PASSED = f"{_WITH} passed policy checks for policy bundle admissionpolicy"
_UNMAPPED = "Image ubuntu was not checked by policy bundle admissionpolicy: none of its mappings matches"
_UNCOVERED = f"{_WITH} is not covered by policy bundle admissionpolicy: none of its mappings matches"
_DENYLISTED = PolicyReason.DENYLISTED
_ALLOWLISTED = PolicyReason.ALLOWLISTED


def _denylisted(list_rule: str = "", *, problems: tuple[str, ...] = (), passed: bool = False) -> PolicyEvaluation:
    return PolicyEvaluation(
        passed=passed, policy="admissionpolicy", reason=_DENYLISTED, list_rule=list_rule, problems=problems
    )


@pytest.mark.parametrize(
    ("evaluation", "decision", "reason", "message"),
    [
        (failed(vulnerability()), DENY, Reason.POLICY_FAILED, _FAILED),
        (_passing(), ADMIT, Reason.POLICY_PASSED, _PASSED),
        (_passing(reason=_ALLOWLISTED), ADMIT, Reason.POLICY_PASSED, _PASSED),
        (_passing(mapped=False, reason=_ALLOWLISTED), ADMIT, Reason.POLICY_PASSED, _PASSED),
        (_passing(mapped=False), ADMIT, Reason.UNMAPPED, _UNMAPPED),
        (_denylisted(), DENY, Reason.POLICY_FAILED, f"{_FAILED}: the policy's deny list entry names it"),
        (
            _denylisted("no root"),
            DENY,
            Reason.POLICY_FAILED,
            f'{_FAILED}: the policy\'s deny list entry "no root" names it',
        ),
        (
            _denylisted(problems=("odd",)),
            DENY,
            Reason.POLICY_FAILED,
            f"{_FAILED}: the policy's deny list entry names it",
        ),
        (
            _denylisted(passed=True),
            DENY,
            Reason.POLICY_FAILED,
            f"{_FAILED}: the policy's deny list entry names it",
        ),
    ],
    ids=[
        "fail",
        "pass",
        "allow-listed",
        "allow-listed, unmapped",
        "unmapped",
        "deny-listed",
        "deny-listed by an entry",
        "deny-listed with a problem",
        "deny-listed beside a pass",
    ],
)
def test_strict_mode_follows_the_policy(
    evaluation: PolicyEvaluation, decision: Decision, reason: Reason, message: str
) -> None:
    verdict = _judge(STRICT, _checked(evaluation))
    assert (verdict.decision, verdict.reason, verdict.message) == (decision, reason, message)
    assert verdict.findings == evaluation.findings
    assert verdict.warning == (_UNMAPPED if reason is Reason.UNMAPPED else "")


_OTHER = "docker.io/library/nginx:1.25"


@pytest.mark.parametrize(
    ("tags", "known"),
    [
        ((), ""),
        (("docker.io/ubuntu:latest", "docker.io/library/ubuntu:24.04"), ""),
        ((_OTHER,), f". Anchore also knows this digest as {_OTHER}, but mappings for that name do not apply"),
        (
            ("docker.io/ubuntu:1", "quay.io/a/b:1", _OTHER),
            f". Anchore also knows this digest as {_OTHER}, but mappings for that name do not apply",
        ),
    ],
)
def test_a_copy_of_a_known_image_in_another_repository_is_named(tags: tuple[str, ...], known: str) -> None:
    """Policies map by repository: what was judged under another name says nothing about this one."""
    facts = ImageFacts(record(tags=dict.fromkeys(tags, "2026-01-01T00:00:00Z")), (_passing(mapped=False),))
    assert _judge(STRICT, facts).warning == _UNMAPPED + known
    assert _judge(STRICT, facts, require_mapping=True).message == _UNCOVERED + known


_STOPPED = (DENY, Reason.POLICY_FAILED)
_UNMAPPED_PASS = _passing(mapped=False)
_PROBLEM = PolicyEvaluation(passed=True, policy="admissionpolicy", problems=("odd",))


@pytest.mark.parametrize(
    ("one", "other", "required", "expected"),
    [
        (_passing(), _passing(), False, (ADMIT, Reason.POLICY_PASSED)),
        (_passing(), failed(vulnerability()), False, _STOPPED),
        (_passing(), _denylisted(), False, _STOPPED),
        (_UNMAPPED_PASS, _denylisted(), False, _STOPPED),
        (_UNMAPPED_PASS, failed(vulnerability()), False, _STOPPED),
        (_passing(reason=_ALLOWLISTED), failed(vulnerability()), False, _STOPPED),
        (_PROBLEM, failed(vulnerability()), False, _STOPPED),
        (_PROBLEM, _passing(), False, (NO_VERDICT, Reason.ERROR)),
        (_PROBLEM, _UNMAPPED_PASS, False, (NO_VERDICT, Reason.ERROR)),
        (_UNMAPPED_PASS, _passing(), False, (ADMIT, Reason.POLICY_PASSED)),
        (_UNMAPPED_PASS, _passing(), True, (ADMIT, Reason.POLICY_PASSED)),
        (_UNMAPPED_PASS, _passing(mapped=False, reason=_ALLOWLISTED), True, (ADMIT, Reason.POLICY_PASSED)),
        (_UNMAPPED_PASS, _UNMAPPED_PASS, False, (ADMIT, Reason.UNMAPPED)),
        (_UNMAPPED_PASS, _UNMAPPED_PASS, True, (DENY, Reason.UNMAPPED)),
    ],
)
def test_the_strictest_counts_where_an_image_has_two_names(
    *, one: PolicyEvaluation, other: PolicyEvaluation, required: bool, expected: tuple[Decision, Reason]
) -> None:
    for evaluations in ((one, other), (other, one)):
        verdict = _judge(STRICT, ImageFacts(record(), evaluations), require_mapping=required)
        assert (verdict.decision, verdict.reason) == expected


@pytest.mark.parametrize(
    ("evaluation", "decision", "reason"),
    [
        (_passing(), ADMIT, Reason.POLICY_PASSED),
        (_passing(mapped=False, reason=_ALLOWLISTED), ADMIT, Reason.POLICY_PASSED),
        (_passing(mapped=False), DENY, Reason.UNMAPPED),
        (failed(vulnerability()), DENY, Reason.POLICY_FAILED),
    ],
    ids=["mapped", "allow-listed", "unmapped", "failed"],
)
def test_a_mapping_may_be_required(evaluation: PolicyEvaluation, decision: Decision, reason: Reason) -> None:
    verdict = _judge(STRICT, _checked(evaluation), require_mapping=True)
    assert (verdict.decision, verdict.reason) == (decision, reason)
    assert verdict.message == _UNCOVERED or reason is not Reason.UNMAPPED


@pytest.mark.parametrize(
    ("facts", "error", "words"),
    [
        (ImageFacts(record(), error=_DOWN), "unavailable", "Anchore does not answer"),
        (
            ImageFacts(record(), error=DeadlineExceeded("no response before the deadline")),
            "deadline_exceeded",
            "no response before the deadline",
        ),
        (
            ImageFacts(record(), error=PolicyNotFound("Anchore has no policy p")),
            "policy_not_found",
            "Anchore has no policy p",
        ),
        (ImageFacts(record(), (failed(vulnerability()),), error=_DOWN), "unavailable", "Anchore does not answer"),
        (ImageFacts(record(), (_passing(),), error=_DOWN), "unavailable", "Anchore does not answer"),
        (ImageFacts(record()), "policy_not_evaluated", "its policy was not evaluated"),
        (
            _checked(PolicyEvaluation(passed=True, policy="p", problems=("no such gate", "x"))),
            "policy_not_evaluated",
            "the policy has a problem: no such gate",
        ),
        (
            _checked(PolicyEvaluation(passed=False, policy="p", problems=("bad\nrule",), findings=(vulnerability(),))),
            "policy_not_evaluated",
            "the policy has a problem: bad?rule",
        ),
        (
            _checked(PolicyEvaluation(passed=True, policy="p", reason=_ALLOWLISTED, problems=("odd",))),
            "policy_not_evaluated",
            "the policy has a problem: odd",
        ),
    ],
    ids=[
        "unavailable",
        "deadline",
        "no policy",
        "error beats a fail",
        "error beats a pass",
        "no evaluation",
        "pass with a problem",
        "fail with a problem",
        "allow-listed with a problem",
    ],
)
def test_no_verdict_is_never_a_pass(facts: ImageFacts, error: str, words: str) -> None:
    verdict = _judge(STRICT, facts)
    assert verdict == Verdict(NO_VERDICT, Reason.ERROR, f"Image ubuntu could not be checked: {words}", error=error)


@pytest.mark.parametrize("mode", [ANALYSIS, STRICT])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ImageNotReached(), "the object names too many images to look them all up"),
        (AnchoreBusy(), "too many lookups of this namespace wait for Anchore; try again in a few seconds"),
    ],
)
def test_an_image_behind_too_many_others_is_denied(mode: ModeName, error: ImageNotReached, why: str) -> None:
    verdict = _judge(mode, ImageFacts(error=error))
    assert verdict == Verdict(DENY, Reason.NOT_REACHED, f"Image ubuntu was not reached in time: {why}")


@pytest.mark.parametrize("reason", [PolicyReason.EVALUATION, PolicyReason.ALLOWLISTED])
def test_an_explicit_fail_without_findings_is_a_denial(reason: PolicyReason) -> None:
    verdict = _judge(STRICT, _checked(PolicyEvaluation(passed=False, policy="p", reason=reason)))
    message = f"{_WITH} failed policy checks for policy bundle p; Anchore reports no finding"
    assert verdict == Verdict(DENY, Reason.POLICY_FAILED, message)


@pytest.mark.parametrize(
    ("mode", "facts", "reason"),
    [
        (STRICT, ImageFacts(record(), error=_HUGE), Reason.TOO_MANY_FINDINGS),
        (STRICT, ImageFacts(None, error=_HUGE), Reason.RECORD_TOO_LARGE),
        (ANALYSIS, ImageFacts(None, error=_HUGE), Reason.RECORD_TOO_LARGE),
        (STRICT, ImageFacts(record(AnalysisState.ANALYZING), error=_HUGE), Reason.PENDING),
    ],
    ids=["check", "look-up", "look-up in analysis mode", "state"],
)
def test_more_than_can_be_read_of_an_image_is_a_denial(mode: ModeName, facts: ImageFacts, reason: Reason) -> None:
    """The author of an image decides how much there is to say about it, and must not bring about no verdict."""
    verdict = _judge(mode, facts)
    assert (verdict.decision, verdict.reason) == (DENY, reason)
    if reason is not Reason.PENDING:
        subject = _WITH if facts.record else "Image ubuntu"
        assert (
            verdict.message
            == f"{subject} cannot be judged: larger than 16777216 bytes; limits.anchoreResponse sets the limit"
        )


def test_the_digest_is_named_as_far_as_it_is_known() -> None:
    answered = ImageFacts(submission=ANSWERED)
    assert answered.digest == DIGEST
    other = Finding("dockerfile", "instruction", "abc", "Dockerfile has no HEALTHCHECK")
    assert _judge(STRICT, _checked(failed(other, policy="p"))).message == (
        f"{_WITH} failed policy checks for policy bundle p"
    )


def test_skip_looks_at_nothing() -> None:
    verdict = _judge(SKIP, ImageFacts(record(), (failed(vulnerability()),), error=_DOWN))
    assert verdict == Verdict(ADMIT, Reason.SKIPPED, "Image ubuntu is not checked: rule production skips it")


@pytest.mark.parametrize(
    ("mode", "decision", "warning"),
    [(SKIP, ADMIT, "words"), (PASSIVE, ADMIT, "words"), (ANALYSIS, DENY, ""), (STRICT, DENY, "")],
)
def test_an_image_that_cannot_be_queried(mode: ModeName, decision: Decision, warning: str) -> None:
    verdict = MODES[mode].uncheckable(Reason.IMAGE_ID, "words")
    assert verdict == Verdict(decision, Reason.IMAGE_ID, "words", warning=warning)


@pytest.mark.parametrize("mode", ModeName)
@pytest.mark.parametrize("state", AnalysisState)
def test_foreign_text_stays_on_one_line(mode: ModeName, state: AnalysisState) -> None:
    facts = ImageFacts(
        record(state),
        (failed(vulnerability(), policy="p\n\u202e"),),
        Submission(SubmissionState.REFUSED, reason="a\nb\x1b[31m"),
    )
    message = MODES[mode].judge("evil\n\x00image", parse("ubuntu"), facts, rule(mode=mode)).message
    assert message.isprintable()
