"""The modes: which facts each needs, and how it turns them into a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from anchore_admission.core.facts import AnalysisState, ImageFacts, PolicyEvaluation, PolicyReason, SubmissionState
from anchore_admission.core.messages import next_step, requested
from anchore_admission.core.names import repositories, repository_of
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.verdict import Decision, Reason, Verdict
from anchore_admission.errors import AnchoreReplyTooLarge, ImageNotReached, PolicyNotEvaluated
from anchore_admission.models.configuration import ModeName
from anchore_admission.text import shown


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be fetched before a mode can judge."""

    record: bool = False
    evaluation: bool = False
    submission: bool = False


NOTHING = Needs()
_STRICTNESS = (Decision.ADMIT, Decision.NO_VERDICT, Decision.DENY)


class Mode(Protocol):
    """Facts to verdict, without any I/O."""

    @property
    def needs(self) -> Needs: ...

    def judge(self, image: str, facts: ImageFacts, rule: Rule) -> Verdict:
        """The verdict on an image with a readable reference."""

    def refuse(self, reason: Reason, message: str) -> Verdict:
        """The verdict on an image that Anchore cannot be asked about."""


class Skip:
    """Admits without any look-up."""

    needs = NOTHING

    def judge(self, image: str, facts: ImageFacts, rule: Rule) -> Verdict:  # noqa: ARG002 - nothing is looked at
        return Verdict(
            Decision.ADMIT, Reason.SKIPPED, f"Image {shown(image)} is not checked: rule {rule.name} skips it"
        )

    def refuse(self, reason: Reason, message: str) -> Verdict:
        return Verdict(Decision.ADMIT, reason, message, warning=message)


class Passive:
    """Asks Anchore to analyse, always admits."""

    needs = Needs(submission=True)

    def judge(self, image: str, facts: ImageFacts, rule: Rule) -> Verdict:  # noqa: ARG002 - the same under every rule
        message = requested(image, facts.submission)
        if facts.submission.state in {SubmissionState.REFUSED, SubmissionState.DROPPED}:
            return Verdict(Decision.NO_VERDICT, Reason.ERROR, message, error=facts.submission.state)
        return Verdict(Decision.ADMIT, Reason.REQUESTED, message)

    def refuse(self, reason: Reason, message: str) -> Verdict:
        return Verdict(Decision.ADMIT, reason, message, warning=message)


class Analysis:
    """Admits what Anchore has analysed."""

    needs = Needs(record=True)

    def judge(self, image: str, facts: ImageFacts, rule: Rule) -> Verdict:  # noqa: ARG002 - the same under every rule
        if isinstance(facts.error, ImageNotReached):
            return _not_reached(image)
        if isinstance(facts.error, AnchoreReplyTooLarge) and not facts.record:
            return _too_large(image, facts, facts.error)
        if facts.error and not facts.record:
            return _no_verdict(image, facts.error.code, str(facts.error))
        if facts.state is AnalysisState.ANALYZED:
            return Verdict(Decision.ADMIT, Reason.ANALYZED, f"{_subject(image, facts)} is analyzed")
        return _not_analyzed(image, facts, unknown=f"Image {shown(image)} is not analyzed")

    def refuse(self, reason: Reason, message: str) -> Verdict:
        return Verdict(Decision.DENY, reason, message)


class Strict:
    """Admits what Anchore has analysed and what passes the policy."""

    needs = Needs(record=True, evaluation=True)

    def judge(self, image: str, facts: ImageFacts, rule: Rule) -> Verdict:
        if isinstance(facts.error, ImageNotReached):
            return _not_reached(image)
        not_analyzed = facts.record is not None and facts.state is not AnalysisState.ANALYZED
        if isinstance(facts.error, AnchoreReplyTooLarge) and not not_analyzed:
            return _too_large(image, facts, facts.error)
        if facts.error and not not_analyzed:
            return _no_verdict(image, facts.error.code, str(facts.error))
        if facts.state is not AnalysisState.ANALYZED:
            unknown = f"Image {shown(image)} is not analyzed. Cannot evaluate policy"
            return _not_analyzed(image, facts, unknown=unknown)
        if not facts.evaluations:
            return _no_verdict(image, PolicyNotEvaluated.code, "its policy was not evaluated")
        judged = [(_by_policy(image, facts, evaluation, rule), evaluation) for evaluation in facts.evaluations]
        return judged[0][0] if len(judged) == 1 else _strictest(image, judged)

    def refuse(self, reason: Reason, message: str) -> Verdict:
        return Verdict(Decision.DENY, reason, message)


MODES: dict[ModeName, Mode] = {
    ModeName.SKIP: Skip(),
    ModeName.PASSIVE: Passive(),
    ModeName.ANALYSIS: Analysis(),
    ModeName.STRICT: Strict(),
}


def _subject(image: str, facts: ImageFacts) -> str:
    return f"Image {shown(image)} with digest {facts.digest}" if facts.digest else f"Image {shown(image)}"


def _no_verdict(image: str, code: str, text: str) -> Verdict:
    message = f"Image {shown(image)} could not be checked: {shown(text)}"
    return Verdict(Decision.NO_VERDICT, Reason.ERROR, message, error=code)


def _not_reached(image: str) -> Verdict:
    """Deny an image that an author could hide behind many others, whatever ``onError`` says."""
    message = f"Image {shown(image)} was not reached in time: the object names too many images to look them all up"
    return Verdict(Decision.DENY, Reason.NOT_REACHED, message)


def _too_large(image: str, facts: ImageFacts, error: AnchoreReplyTooLarge) -> Verdict:
    """Deny an image that Anchore says too much about, whatever ``onError`` says.

    An image's author decides how much there is to find in it, and how long its record is: that holds the Dockerfile,
    which Anchore makes up from the image's history, once for each of its tags.
    """
    message = f"{_subject(image, facts)} cannot be judged: {error}; limits.anchoreResponse bounds it"
    return Verdict(Decision.DENY, Reason.TOO_MANY_FINDINGS if facts.record else Reason.RECORD_TOO_LARGE, message)


def _not_analyzed(image: str, facts: ImageFacts, *, unknown: str) -> Verdict:
    step = next_step(facts.submission)
    match facts.state:
        case AnalysisState.NOT_ANALYZED:
            message = (
                f"{_subject(image, facts)} is not analyzed: its analysis was requested and is queued, try again later"
            )
            return Verdict(Decision.DENY, Reason.PENDING, message)
        case AnalysisState.ANALYZING:
            message = f"{_subject(image, facts)} is not analyzed: its analysis is under way, try again in a few minutes"
            return Verdict(Decision.DENY, Reason.PENDING, message)
        case AnalysisState.FAILED:
            message = f"{_subject(image, facts)} is not analyzed: Anchore failed to analyze it. {step}"
            return Verdict(Decision.DENY, Reason.ANALYSIS_FAILED, message)
        case _:
            return Verdict(Decision.DENY, Reason.UNKNOWN, f"{unknown}. {step}")


def _strictest(image: str, judged: Sequence[tuple[Verdict, PolicyEvaluation]]) -> Verdict:
    """Return the strictest of the verdicts under an image's names; a mapping of one of them covers the image.

    A mapping that holds only for the author's spelling of the registry (``registry*`` for ``registry-1.docker.io``)
    covers nothing.
    """
    names = parse(image).repositories
    known = [verdict for verdict, evaluation in judged if evaluation.repository in names]
    verdicts = [verdict for verdict, _ in judged]
    if any(verdict.reason is not Reason.UNMAPPED for verdict in known or verdicts):
        verdicts = [verdict for verdict in verdicts if verdict.reason is not Reason.UNMAPPED]
    return max(verdicts, key=lambda verdict: (_STRICTNESS.index(verdict.decision), bool(verdict.warning)))


def _by_policy(image: str, facts: ImageFacts, evaluation: PolicyEvaluation, rule: Rule) -> Verdict:
    """Anything but a clear word is no verdict; an image list's word needs no findings."""
    subject = f"{_subject(image, facts)} failed policy checks for policy bundle {shown(evaluation.policy)}"
    if evaluation.reason is PolicyReason.DENYLISTED:
        entry = f' "{shown(evaluation.list_rule)}"' if evaluation.list_rule else ""
        return Verdict(Decision.DENY, Reason.POLICY_FAILED, f"{subject}: the policy's deny list entry{entry} names it")
    if evaluation.problems:
        return _no_verdict(image, PolicyNotEvaluated.code, f"the policy has a problem: {evaluation.problems[0]}")
    if evaluation.passed:
        return _passed(image, facts, evaluation, rule)
    if not evaluation.findings:
        return Verdict(Decision.DENY, Reason.POLICY_FAILED, f"{subject}; Anchore names no finding")
    return Verdict(Decision.DENY, Reason.POLICY_FAILED, subject, findings=evaluation.findings)


def _passed(image: str, facts: ImageFacts, evaluation: PolicyEvaluation, rule: Rule) -> Verdict:
    policy = shown(evaluation.policy)
    if evaluation.mapped or evaluation.reason is PolicyReason.ALLOWLISTED:
        message = f"{_subject(image, facts)} passed policy checks for policy bundle {policy}"
        return Verdict(Decision.ADMIT, Reason.POLICY_PASSED, message)
    others = _other_names(image, facts)
    copied = f". Anchore knows the same digest as {shown(others[-1])}, which does not count here" if others else ""
    if rule.require_mapping:
        message = f"{_subject(image, facts)} is not covered by policy bundle {policy}: none of its mappings matches"
        return Verdict(Decision.DENY, Reason.UNMAPPED, f"{message}{copied}")
    warning = f"Image {shown(image)} was not checked by policy bundle {policy}: none of its mappings matches{copied}"
    return Verdict(Decision.ADMIT, Reason.UNMAPPED, warning, warning=warning)


def _other_names(image: str, facts: ImageFacts) -> list[str]:
    """Return the tags of the digest in other repositories; content may be copied, and policies map by repository."""
    own = repositories(parse(image))
    return [tag.full_tag for tag in facts.record.tags if repository_of(tag.full_tag) not in own] if facts.record else []
