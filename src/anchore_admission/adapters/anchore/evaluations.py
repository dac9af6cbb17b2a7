"""Parts of a policy check that both API versions share: its request, its outcome, its problems and findings."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from anchore_admission.adapters.failures import cleaned
from anchore_admission.core.facts import Finding, PolicyEvaluation, PolicyReason, Selector
from anchore_admission.core.findings import worst_first
from anchore_admission.errors import AnchoreResponseInvalid
from anchore_admission.models.image_report import FindingAction

_HUB = "docker.io/"
_GATES_BY_TAG = frozenset({"tag_drift"})
"""Gates that compare an image with earlier ones of its tag. Source: the list of gates of Anchore Enterprise."""
_FINDING_LENGTH = 1000
_FINDINGS_KEPT = 500
"""The most findings that are kept of one evaluation, the worst ones: a message shows at most 100."""
_WARNINGS_KEPT = 100
"""The most findings with action ``warn`` that are kept; no message shows them."""
_PROBLEMS_KEPT = 10
_COMPARED = 32 * 1024
"""The most characters of a policy's patterns that are compared with an image's names, which takes 0.4 s at worst."""
_COMPARED_EACH = 32
"""Characters that a short pattern counts for."""
# The first name of each pair is that of API v1, the second that of v2.
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
    """The parts of a policy by which the image's name may change a verdict, under the names of both API versions."""

    mappings: list[_Selector] | None = None
    whitelisted_images: list[_Selector] = []
    blacklisted_images: list[_Selector] = []
    allowlisted_images: list[_Selector] = []
    denylisted_images: list[_Selector] = []
    policies: list[_RuleSet] = []
    rule_sets: list[_RuleSet] = []

    @property
    def selectors(self) -> tuple[Selector, ...] | None:
        """The patterns that distinguish repositories; None if they are not shown or are too many to compare.

        None also if a gate depends on the tag. Every name is then evaluated.
        """
        gates = {rule.gate for rules in (*self.policies, *self.rule_sets) for rule in rules.rules}
        if self.mappings is None or gates & _GATES_BY_TAG:
            return None
        lists = (self.whitelisted_images, self.blacklisted_images, self.allowlisted_images, self.denylisted_images)
        entries = itertools.chain(self.mappings, *lists)
        found = tuple(dict.fromkeys(Selector(entry.registry, entry.repository) for entry in entries))
        compared = sum(_COMPARED_EACH + len(entry.registry) + len(entry.repository) for entry in found)
        return found if compared <= _COMPARED else None


def _shown(value: object, read: ValidatorFunctionWrapHandler) -> object:
    """Treat a policy of another shape as not shown: it only serves to save requests."""
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
class CheckRequest:
    """The parameters of a check. Without ``detail``, the response names no findings.

    ``keeps_warnings`` also keeps findings with action ``warn``, which takes memory and changes no verdict.
    """

    digest: str
    full_tag: str
    policy: str | None
    detail: bool = True
    keeps_warnings: bool = False


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation and the digest of the image that was evaluated; empty if Anchore does not name it."""

    digest: str
    evaluation: PolicyEvaluation


def another_image() -> AnchoreResponseInvalid:
    """Return the error for a response about another image."""
    return AnchoreResponseInvalid("Anchore evaluated another image than the requested one")


def expect_evaluated(request: CheckRequest, *, tag: str, policy: str) -> None:
    """Require that the tag and the policy of an evaluation are the requested ones: they decide which rules apply.

    Values that Anchore leaves out are accepted. Raises AnchoreResponseInvalid.
    """
    # Anchore puts docker.io/ before a tag without a host.
    if tag and tag.removeprefix(_HUB) != request.full_tag.removeprefix(_HUB):
        raise AnchoreResponseInvalid("Anchore evaluated the policy for another tag than the requested one")
    if request.policy and policy and policy != request.policy:
        raise AnchoreResponseInvalid("Anchore evaluated another policy than the requested one")


def passed(status: str | None, final_action: str | None) -> bool:
    """Return whether the image passes. A missing or contradictory status raises AnchoreResponseInvalid."""
    if status not in {"pass", "fail"}:
        raise AnchoreResponseInvalid("Anchore's evaluation has no readable status")
    if status == "pass" and final_action == "stop":
        raise AnchoreResponseInvalid(
            "Anchore's evaluation contradicts itself: its status is pass, its final action is stop"
        )
    return status == "pass"


def reason_of(text: str | None) -> PolicyReason:
    return _REASONS.get(text or "", PolicyReason.EVALUATION)


def serious(problems: Iterable[EvaluationProblem] | None) -> tuple[str, ...]:
    """Return the problems that invalidate the evaluation; for those of one rule (``warn``), Anchore adds a finding."""
    # A problem without a severity counts: an evaluation that may be invalid is no verdict.
    found = (problem for problem in problems or () if problem.severity in {None, "", "error"})
    return tuple(_described(problem) for problem in islice(found, _PROBLEMS_KEPT))


def _described(problem: EvaluationProblem) -> str:
    details = "" if problem.details is None else str(problem.details)
    parts = [part for part in (problem.problem_type, details) if part]
    return cleaned(": ".join(parts) or "not described")


@dataclass(frozen=True, slots=True)
class Kept:
    """The worst findings of an evaluation, by their action, and the number of all.

    ``warnings_total`` is None if those with action ``warn`` are not kept, or if the response does not show them.
    """

    findings: tuple[Finding, ...]
    findings_total: int
    warnings: tuple[Finding, ...] = ()
    warnings_total: int | None = None

    @property
    def truncated(self) -> bool:
        """True if there were more with action ``stop`` than are kept."""
        return self.findings_total > len(self.findings)


def kept(rows: Iterable[Finding] | None, request: CheckRequest) -> Kept:
    """Keep the worst findings, with texts that are safe in messages; ``rows`` is None if the response shows none."""
    stops: list[Finding] = []
    warnings: list[Finding] = []
    for row in rows or ():
        if row.action == "stop":
            stops.append(row)
        elif request.keeps_warnings:
            warnings.append(row)
    is_known = request.keeps_warnings and request.detail and rows is not None
    return Kept(
        _worst(stops, _FINDINGS_KEPT),
        len(stops),
        _worst(warnings, _WARNINGS_KEPT),
        len(warnings) if is_known else None,
    )


def _worst(findings: list[Finding], most: int) -> tuple[Finding, ...]:
    """Return the worst findings; all of them in Anchore's order if they are not too many."""
    return tuple(
        Finding(
            gate=cleaned(finding.gate),
            trigger=cleaned(finding.trigger),
            trigger_id=cleaned(finding.trigger_id, _FINDING_LENGTH),
            message=cleaned(finding.message, _FINDING_LENGTH),
            recommendation=cleaned(finding.recommendation, _FINDING_LENGTH),
            action=finding.action,
        )
        for finding in (findings if len(findings) <= most else worst_first(findings, most))
    )


def action_of(text: str | None) -> FindingAction | None:
    """Return the action of a finding; None for ``go`` and for an unknown one, which decide nothing."""
    match (text or "").lower():
        case "stop":
            return "stop"
        case "warn":
            return "warn"
        case _:
            return None


def rule_name(rule: ListRule | None) -> str:
    return cleaned((rule.name or rule.id or "") if rule else "")
