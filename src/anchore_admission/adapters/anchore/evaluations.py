"""What both API versions share in reading a policy check: its refusals, its problems, its tag."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from anchore_admission.adapters.anchore.answers import Answer, bad_request, cleaned, contains
from anchore_admission.adapters.anchore.records import analysis_state, names_no_image
from anchore_admission.core.facts import AnalysisState, Finding, PolicyEvaluation, PolicyReason, Selector
from anchore_admission.core.messages import worst_first
from anchore_admission.errors import AnchoreReplyInvalid, EvaluationError, PolicyNotEvaluated, PolicyNotFound

_NOT_ANALYZED = re.compile(r"image is not analyzed - analysis_status: (\S{1,100})", re.IGNORECASE)
_HUB = "docker.io/"
_GATES_BY_TAG = frozenset({"tag_drift"})
"""Gates that compare an image with earlier ones of its tag. Source: Anchore Enterprise's list of gates."""
_FINDING_LENGTH = 1000
_FINDINGS_KEPT = 500
"""Findings of one evaluation that are kept, the worst ones: a message shows 100 at most."""
_PROBLEMS_KEPT = 10
_FOREIGN_TAG = (
    "not associated",
    "not belong",
    "not found",
    "not a tag of",
    "not match",
    "no such",
)
"""A check's 400 with these words after "tag": Anchore has the image, but not under this name, so it must be added.

It must not be an error: an author could bring it about by writing another repository before a digest.
"""
_REASONS = {
    "whitelisted": PolicyReason.ALLOWLISTED,
    "allowlisted": PolicyReason.ALLOWLISTED,
    "blacklisted": PolicyReason.DENYLISTED,
    "denylisted": PolicyReason.DENYLISTED,
}


class EvaluationProblem(BaseModel):
    """A rule, or the whole policy, that could not be evaluated."""

    severity: str | None = None
    problem_type: str | None = None
    details: object = None


class _Selector(BaseModel):
    registry: str = "*"
    repository: str = "*"


class _Rule(BaseModel):
    gate: str = ""


class _RuleSet(BaseModel):
    rules: list[_Rule] = []


class PolicyDocument(BaseModel):
    """The parts of a policy that decide whether an image's name matters, in the words of both API versions."""

    mappings: list[_Selector] | None = None
    whitelisted_images: list[_Selector] = []
    blacklisted_images: list[_Selector] = []
    allowlisted_images: list[_Selector] = []
    denylisted_images: list[_Selector] = []
    policies: list[_RuleSet] = []
    rule_sets: list[_RuleSet] = []

    @property
    def selectors(self) -> tuple[Selector, ...] | None:
        """The patterns that tell repositories apart; None where they are not shown or a gate looks at the tag."""
        gates = {rule.gate for rules in (*self.policies, *self.rule_sets) for rule in rules.rules}
        if self.mappings is None or gates & _GATES_BY_TAG:
            return None
        lists = (self.whitelisted_images, self.blacklisted_images, self.allowlisted_images, self.denylisted_images)
        entries = itertools.chain(self.mappings, *lists)
        return tuple(dict.fromkeys(Selector(entry.registry, entry.repository) for entry in entries))


def _shown(value: object, read: ValidatorFunctionWrapHandler) -> object:
    """A policy in another shape counts as not shown: it is only looked at to save a question."""
    try:
        return read(value)
    except ValidationError:
        return None


ShownPolicy = Annotated[PolicyDocument | None, WrapValidator(_shown)]


class ListRule(BaseModel):
    """The entry of an image allow or deny list that matched."""

    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Unclear:
    """A refusal to check that does not say what it is about; the image's record has to be read again."""

    message: str


def not_evaluated(answer: Answer, policy: str | None) -> AnalysisState | Unclear:
    """Interpret a check's refusal; 404 has many meanings that only the message tells apart, where it does.

    Raises EvaluationError, but for an image that is not known or not analysed.
    """
    message = answer.message
    if not answer.missing:
        if answer.is_anchores and any(contains(message, "tag", words) for words in _FOREIGN_TAG):
            return AnalysisState.UNKNOWN
        raise bad_request(answer)
    if names_no_image(message):
        return AnalysisState.UNKNOWN
    if found := _NOT_ANALYZED.match(message):
        return _unfinished(found[1])
    if contains(message, "no active policy"):
        raise PolicyNotFound("the Anchore account has no active policy")
    if contains(message, "policy", "not found"):
        name = f"policy {policy}" if policy else "the active policy"
        raise PolicyNotFound(f"{name} does not exist in Anchore")
    if contains(message, "could not find any evaluations"):
        raise PolicyNotEvaluated("Anchore did not evaluate the policy; its policy engine may be down")
    return Unclear(cleaned(message))


def still_unclear(refusal: Unclear) -> EvaluationError:
    """The error for an image that Anchore has analyzed and yet refuses to check."""
    return PolicyNotEvaluated(f"Anchore refuses to evaluate the policy (404): {refusal.message}")


def _unfinished(status: str) -> AnalysisState:
    state = analysis_state(status)
    if state is AnalysisState.ANALYZED:
        raise AnchoreReplyInvalid("Anchore contradicts itself: the image is analyzed and is not")
    return state


@dataclass(frozen=True, slots=True)
class Question:
    """The question that a check asks."""

    digest: str
    full_tag: str
    policy: str | None
    detail: bool = True


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation and the digest that Anchore says it is of; empty where it does not say."""

    digest: str
    evaluation: PolicyEvaluation


def another_image() -> AnchoreReplyInvalid:
    """The error for an answer about an image that was not asked for."""
    return AnchoreReplyInvalid("Anchore evaluated another image than the one asked for")


def expect_evaluated(asked: Question, *, tag: str, policy: str) -> None:
    """Require an answer to our question: for this tag, by this policy. A tag decides which rules apply.

    Members that Anchore leaves out are not held against it. Raises AnchoreReplyInvalid.
    """
    if tag and tag.removeprefix(_HUB) != asked.full_tag.removeprefix(_HUB):
        raise AnchoreReplyInvalid("Anchore evaluated the policy for another tag than the one asked for")
    if asked.policy and policy and policy != asked.policy:
        raise AnchoreReplyInvalid("Anchore evaluated another policy than the one asked for")


def passed(status: str | None, final_action: str | None) -> bool:
    """Raises AnchoreReplyInvalid: no status, or one that its own action contradicts, is never a pass."""
    if status not in {"pass", "fail"}:
        raise AnchoreReplyInvalid("Anchore's evaluation has no readable status")
    if status == "pass" and final_action == "stop":
        raise AnchoreReplyInvalid("Anchore's evaluation contradicts itself: it passes and says stop")
    return status == "pass"


def reason_of(text: str | None) -> PolicyReason:
    return _REASONS.get(text or "", PolicyReason.EVALUATION)


def serious(problems: Iterable[EvaluationProblem] | None) -> tuple[str, ...]:
    """Those that put the whole evaluation in doubt; of a rule that failed (``warn``) Anchore makes a row itself."""
    found = (problem for problem in problems or () if problem.severity in {None, "", "error"})
    return tuple(_described(problem) for problem in islice(found, _PROBLEMS_KEPT))


def _described(problem: EvaluationProblem) -> str:
    details = "" if problem.details is None else str(problem.details)
    parts = [part for part in (problem.problem_type, details) if part]
    return cleaned(": ".join(parts) or "not described")


def kept(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the worst findings in a form that is fit for messages."""
    found = list(findings)
    if len(found) > _FINDINGS_KEPT:
        found = worst_first(found)[:_FINDINGS_KEPT]
    return tuple(
        Finding(
            gate=cleaned(finding.gate),
            trigger=cleaned(finding.trigger),
            trigger_id=cleaned(finding.trigger_id, _FINDING_LENGTH),
            message=cleaned(finding.message, _FINDING_LENGTH),
            recommendation=cleaned(finding.recommendation, _FINDING_LENGTH),
        )
        for finding in found
    )


def rule_name(rule: ListRule | None) -> str:
    return cleaned((rule.name or rule.id or "") if rule else "")
