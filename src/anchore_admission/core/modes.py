"""The modes: the facts that each needs, and how it turns them into a verdict. ``core.messages`` has the sentences."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from anchore_admission.core import messages
from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.facts import AnalysisState, ImageFacts, PolicyEvaluation, PolicyReason, SubmissionState
from anchore_admission.core.names import anchore_repositories, repository_of
from anchore_admission.core.reference import ImageReference
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.verdict import Verdict
from anchore_admission.errors import AnchoreResponseTooLarge, ImageNotReached, PolicyNotEvaluated
from anchore_admission.models.configuration import ModeName


class Needs(Struct, frozen=True):
    """The facts to gather before a mode can judge; ``services/reviews/facts.py`` gathers them."""

    record: bool = False
    """The image's record in Anchore."""
    evaluation: bool = False
    """The result of the policy for the image."""
    awaits_submission: bool = False
    """Anchore's response to the submission, for which ``FactGathering`` waits at most ``passive.wait``.

    The other modes submit images too, but never wait for the response: their verdict does not depend on it.
    """


NOTHING = Needs()
# No verdict is stricter than an admission: an image must not pass under one name while another is in doubt.
_STRICTNESS = (Decision.ADMIT, Decision.NO_VERDICT, Decision.DENY)


class Mode(Protocol):
    """A rule's mode: it turns facts into a verdict, without any I/O."""

    @property
    def needs(self) -> Needs: ...

    def judge(self, image: str, reference: ImageReference, facts: ImageFacts, rule: Rule) -> Verdict:
        """Judge an image by its facts; ``image`` is the workload's own spelling of the reference."""

    def uncheckable(self, reason: Reason, message: str) -> Verdict:
        """Judge an image that Anchore cannot check."""


class Skip:
    """Admit without any look-up."""

    needs = NOTHING

    def judge(self, image: str, reference: ImageReference, facts: ImageFacts, rule: Rule) -> Verdict:  # noqa: ARG002 - no facts
        return Verdict(Decision.ADMIT, Reason.SKIPPED, messages.skipped(image, rule.name))

    def uncheckable(self, reason: Reason, message: str) -> Verdict:
        return Verdict(Decision.ADMIT, reason, message, warning=message)


class Passive:
    """Request an analysis and always admit."""

    needs = Needs(awaits_submission=True)

    def judge(self, image: str, reference: ImageReference, facts: ImageFacts, rule: Rule) -> Verdict:  # noqa: ARG002 - same for all
        message = messages.requested(image, facts.submission)
        if facts.submission.state in {SubmissionState.REFUSED, SubmissionState.DROPPED}:
            return Verdict(Decision.NO_VERDICT, Reason.ERROR, message, error=facts.submission.state)
        return Verdict(Decision.ADMIT, Reason.REQUESTED, message)

    def uncheckable(self, reason: Reason, message: str) -> Verdict:
        return Verdict(Decision.ADMIT, reason, message, warning=message)


class Analysis:
    """Admit an image that Anchore has analyzed."""

    needs = Needs(record=True)

    def judge(self, image: str, reference: ImageReference, facts: ImageFacts, rule: Rule) -> Verdict:  # noqa: ARG002 - same for all
        if isinstance(facts.error, ImageNotReached):
            return _not_reached(image, facts.error)
        if isinstance(facts.error, AnchoreResponseTooLarge) and not facts.record:
            return _too_large(image, facts, facts.error)
        if facts.error and not facts.record:
            return _no_verdict(image, facts.error.code, str(facts.error))
        if facts.state is AnalysisState.ANALYZED:
            return Verdict(Decision.ADMIT, Reason.ANALYZED, messages.analyzed(image, facts))
        return _not_analyzed(image, facts, for_policy=False)

    def uncheckable(self, reason: Reason, message: str) -> Verdict:
        return Verdict(Decision.DENY, reason, message)


class Strict:
    """Admit an image that Anchore has analyzed and that passes the policy."""

    needs = Needs(record=True, evaluation=True)

    def judge(self, image: str, reference: ImageReference, facts: ImageFacts, rule: Rule) -> Verdict:
        if isinstance(facts.error, ImageNotReached):
            return _not_reached(image, facts.error)
        # An image that is known not to be analyzed needs no further facts.
        if facts.error and (facts.record is None or facts.state is AnalysisState.ANALYZED):
            if isinstance(facts.error, AnchoreResponseTooLarge):
                return _too_large(image, facts, facts.error)
            return _no_verdict(image, facts.error.code, str(facts.error))
        if facts.state is not AnalysisState.ANALYZED:
            return _not_analyzed(image, facts, for_policy=True)
        if not facts.evaluations:
            return _no_verdict(image, PolicyNotEvaluated.code, messages.NOT_EVALUATED)
        return by_policy(image, reference, facts, rule)[0]

    def uncheckable(self, reason: Reason, message: str) -> Verdict:
        return Verdict(Decision.DENY, reason, message)


MODES: dict[ModeName, Mode] = {
    ModeName.SKIP: Skip(),
    ModeName.PASSIVE: Passive(),
    ModeName.ANALYSIS: Analysis(),
    ModeName.STRICT: Strict(),
}

_REASONS = {
    AnalysisState.NOT_ANALYZED: Reason.PENDING,
    AnalysisState.ANALYZING: Reason.PENDING,
    AnalysisState.FAILED: Reason.ANALYSIS_FAILED,
    AnalysisState.UNKNOWN: Reason.UNKNOWN,
}


def _not_analyzed(image: str, facts: ImageFacts, *, for_policy: bool) -> Verdict:
    message = messages.not_analyzed(image, facts, for_policy=for_policy)
    return Verdict(Decision.DENY, _REASONS[facts.state], message)


def _no_verdict(image: str, code: str, problem: str) -> Verdict:
    return Verdict(Decision.NO_VERDICT, Reason.ERROR, messages.no_verdict(image, problem), error=code)


def _not_reached(image: str, error: ImageNotReached) -> Verdict:
    """Deny an image that an author could hide behind many others, whatever ``onError`` says."""
    return Verdict(Decision.DENY, Reason.NOT_REACHED, messages.not_reached(image, error))


def _too_large(image: str, facts: ImageFacts, error: AnchoreResponseTooLarge) -> Verdict:
    """Deny an image about which Anchore's response is too large, whatever ``onError`` says.

    An image's author decides how many findings it has and how long its record is: the record holds a Dockerfile, which
    Anchore reconstructs from the image's history, once for each of its tags.
    """
    reason = Reason.TOO_MANY_FINDINGS if facts.record else Reason.RECORD_TOO_LARGE
    return Verdict(Decision.DENY, reason, messages.too_large(image, facts, error))


def by_policy(image: str, reference: ImageReference, facts: ImageFacts, rule: Rule) -> tuple[Verdict, PolicyEvaluation]:
    """Judge an image that has evaluations, and return the one that decides the verdict, too."""
    judged = [(_by_policy(image, reference, facts, each, rule), each) for each in facts.evaluations]
    return judged[0] if len(judged) == 1 else _strictest(reference, judged)


def _strictest(
    reference: ImageReference, judged: Sequence[tuple[Verdict, PolicyEvaluation]]
) -> tuple[Verdict, PolicyEvaluation]:
    """Return the strictest of the verdicts under an image's names. A mapping for one of the names covers the image.

    A mapping that matches only the author's spelling of the registry (``registry*`` for ``registry-1.docker.io``) does
    not count: an author must not choose whether the image is covered.
    """
    known = [verdict for verdict, evaluation in judged if evaluation.repository in reference.repositories]
    if any(verdict.reason is not Reason.UNMAPPED for verdict in known or [verdict for verdict, _ in judged]):
        judged = [pair for pair in judged if pair[0].reason is not Reason.UNMAPPED]
    return max(judged, key=lambda pair: (_STRICTNESS.index(pair[0].decision), bool(pair[0].warning)))


def _by_policy(
    image: str, reference: ImageReference, facts: ImageFacts, evaluation: PolicyEvaluation, rule: Rule
) -> Verdict:
    """Judge by one evaluation. A deny list entry needs no findings; a policy with problems gives no verdict."""
    # Before the problems: in Anchore, a deny list wins over everything else in the policy.
    if evaluation.reason is PolicyReason.DENYLISTED:
        return Verdict(Decision.DENY, Reason.POLICY_FAILED, messages.denylisted(image, facts, evaluation))
    if evaluation.problems:
        return _no_verdict(image, PolicyNotEvaluated.code, messages.policy_problem(evaluation.problems[0]))
    if not evaluation.passed:
        message = messages.failed_policy(image, facts, evaluation)
        return Verdict(Decision.DENY, Reason.POLICY_FAILED, message, findings=evaluation.findings)
    # An allow list names the image itself, so it needs no mapping.
    if evaluation.mapped or evaluation.reason is PolicyReason.ALLOWLISTED:
        return Verdict(Decision.ADMIT, Reason.POLICY_PASSED, messages.passed_policy(image, facts, evaluation))
    # Anchore reports `pass` for an image that no mapping matches, although it has evaluated no rule.
    others = _other_names(reference, facts)
    if rule.require_mapping:
        return Verdict(Decision.DENY, Reason.UNMAPPED, messages.not_covered(image, facts, evaluation, others))
    warning = messages.not_checked_by_policy(image, evaluation, others)
    return Verdict(Decision.ADMIT, Reason.UNMAPPED, warning, warning=warning)


def _other_names(reference: ImageReference, facts: ImageFacts) -> list[str]:
    """Return the digest's tags in other repositories: policies map by repository, so these do not cover the image."""
    own = anchore_repositories(reference)
    return [tag.full_tag for tag in facts.record.tags if repository_of(tag.full_tag) not in own] if facts.record else []
