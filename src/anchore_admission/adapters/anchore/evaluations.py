"""What both API versions share in reading a policy check: its refusals, its problems, its tag."""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from anchore_admission.adapters.anchore.answers import Answer, bad_request, shortened
from anchore_admission.adapters.anchore.records import analysis_state
from anchore_admission.core.facts import AnalysisState, PolicyReason
from anchore_admission.errors import AnchoreReplyInvalid, PolicyNotEvaluated, PolicyNotFound

_NO_IMAGE = re.compile(r"image not found", re.IGNORECASE)
_NOT_ANALYZED = re.compile(r"image is not analyzed - analysis_status: (\S+)", re.IGNORECASE)
_NO_POLICY = re.compile(r"policy\b.*\bnot found", re.IGNORECASE)
_NO_ACTIVE_POLICY = re.compile(r"user has no active policy", re.IGNORECASE)
_NO_EVALUATION = re.compile(r"could not find any evaluations", re.IGNORECASE)
_HUB = "docker.io/"
_GATES_BY_TAG = frozenset({"tag_drift"})
"""Gates that compare an image with earlier ones of its tag. Source: Anchore Enterprise's list of gates."""
FINDING_LENGTH = 1000
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
    repository: str = ""


class _Rule(BaseModel):
    gate: str = ""


class _RuleSet(BaseModel):
    rules: list[_Rule] = []


class PolicyDocument(BaseModel):
    """What of an evaluated policy decides whether an image's name matters, in the words of both API versions."""

    mappings: list[_Selector] | None = None
    whitelisted_images: list[_Selector] = []
    blacklisted_images: list[_Selector] = []
    allowlisted_images: list[_Selector] = []
    denylisted_images: list[_Selector] = []
    policies: list[_RuleSet] = []
    rule_sets: list[_RuleSet] = []

    @property
    def repositories(self) -> tuple[str, ...] | None:
        """The patterns by which it tells repositories apart; None where it is not shown or a gate looks at the tag."""
        gates = {rule.gate for rules in (*self.policies, *self.rule_sets) for rule in rules.rules}
        if self.mappings is None or gates & _GATES_BY_TAG:
            return None
        lists = (self.whitelisted_images, self.blacklisted_images, self.allowlisted_images, self.denylisted_images)
        return tuple(dict.fromkeys(entry.repository for entries in (self.mappings, *lists) for entry in entries))


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


def not_evaluated(answer: Answer, policy: str | None) -> AnalysisState:
    """What a check's refusal means; 404 has many meanings that only the message tells apart.

    Raises EvaluationError, but for an image that is not known or not analysed.
    """
    if not answer.missing:
        raise bad_request(answer)
    message = answer.message
    if _NO_IMAGE.match(message):
        return AnalysisState.UNKNOWN
    if found := _NOT_ANALYZED.match(message):
        return _unfinished(found[1])
    if _NO_ACTIVE_POLICY.match(message):
        raise PolicyNotFound("the Anchore account has no active policy")
    if _NO_POLICY.match(message):
        name = f"policy {policy}" if policy else "the active policy"
        raise PolicyNotFound(f"{name} does not exist in Anchore")
    if _NO_EVALUATION.match(message):
        raise PolicyNotEvaluated("Anchore did not evaluate the policy; its policy engine may be down")
    raise AnchoreReplyInvalid(f"Anchore refuses to evaluate the policy (404): {shortened(message)}")


def _unfinished(status: str) -> AnalysisState:
    state = analysis_state(status)
    if state is AnalysisState.ANALYZED:
        raise AnchoreReplyInvalid("Anchore contradicts itself: the image is analyzed and is not")
    return state


def expect_evaluated(*, asked_tag: str, tag: str, asked_policy: str | None, policy: str) -> None:
    """The answer must be to our question: a tag decides which rules apply. What Anchore leaves out is not held
    against it. Raises AnchoreReplyInvalid.
    """
    if tag and tag.removeprefix(_HUB) != asked_tag.removeprefix(_HUB):
        raise AnchoreReplyInvalid("Anchore evaluated the policy for another tag than the one asked for")
    if asked_policy and policy and policy != asked_policy:
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
    return tuple(_described(problem) for problem in problems or () if problem.severity in {None, "", "error"})


def _described(problem: EvaluationProblem) -> str:
    details = "" if problem.details is None else str(problem.details)
    parts = [part for part in (problem.problem_type, details) if part]
    return shortened(": ".join(parts) or "not described")


def rule_name(rule: ListRule | None) -> str:
    return shortened((rule.name or rule.id or "") if rule else "")
