"""Anchore's API v2: Anchore Enterprise from 4.9 on.

Its specification does not fix the message of a 404: ``check_refusals.py`` distinguishes an unknown image from a failed
check.
"""

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, TypeAdapter

from anchore_admission.adapters.anchore.dialect import Dialect
from anchore_admission.adapters.anchore.evaluations import (
    CheckRequest,
    Evaluated,
    EvaluationProblem,
    ListRule,
    ShownPolicy,
    action_of,
    expect_evaluated,
    kept,
    passed,
    reason_of,
    rule_name,
    serious,
)
from anchore_admission.adapters.anchore.events import EventPage
from anchore_admission.adapters.anchore.policies import PolicyRow
from anchore_admission.adapters.anchore.records import (
    ImageRow,
    comparable,
)
from anchore_admission.adapters.anchore.responses import AnchoreResponse, parse
from anchore_admission.adapters.failures import cleaned
from anchore_admission.core.facts import Finding, PolicyEvaluation, PolicyReason
from anchore_admission.errors import AnchoreResponseInvalid


class _Images(BaseModel):
    items: list[ImageRow] | None = None


class _Policies(BaseModel):
    items: list[PolicyRow]


class _Finding(BaseModel):
    gate: str | None = None
    trigger: str | None = None
    trigger_id: str | None = None
    message: str | None = None
    recommendation: str | None = None
    action: str | None = None
    allowlisted: bool | None = None


class _Details(BaseModel):
    policy: ShownPolicy = None
    findings: list[_Finding] | None = None


class _Evaluation(BaseModel):
    status: str | None = None
    final_action: str | None = None
    final_action_reason: str | None = None
    evaluation_time: str | None = None
    evaluation_problems: list[EvaluationProblem] | None = None
    image_allowlisted: bool | None = None
    image_denylisted: bool | None = None
    image_mapped_to_rule: bool | None = None
    matched_mapping_rule: ListRule | None = None
    matched_allowlisted_images_rule: ListRule | None = None
    matched_denylisted_images_rule: ListRule | None = None
    details: _Details | None = None

    @property
    def reason(self) -> PolicyReason:
        """The reason of the final action: the deny list wins over the allow list.

        An allow-listed image may still be judged by the policy's rules.
        """
        if self.image_denylisted:
            return PolicyReason.DENYLISTED
        if self.image_allowlisted and not self.final_action_reason:
            return PolicyReason.ALLOWLISTED
        return reason_of(self.final_action_reason)

    @property
    def mapped(self) -> bool:
        """True if a mapping matched. Some releases send an empty rule for none."""
        if self.image_mapped_to_rule is not None:
            return self.image_mapped_to_rule
        return bool(rule_name(self.matched_mapping_rule))


class _Check(BaseModel):
    policy_id: str | None = None
    image_digest: str | None = None
    evaluated_tag: str | None = None
    evaluations: list[_Evaluation] | None = None


_list = TypeAdapter(_Images)
_image = TypeAdapter(ImageRow)
# A plain list by the specification, unlike that of images; other lists of v2 are objects.
_policy_list: TypeAdapter[list[PolicyRow] | _Policies] = TypeAdapter(list[PolicyRow] | _Policies)
_event_page = TypeAdapter(EventPage)
_check = TypeAdapter(_Check)


def _listed(response: AnchoreResponse) -> list[ImageRow]:
    return parse(_list, response).items or []


def _held(response: AnchoreResponse) -> list[ImageRow]:
    return [parse(_image, response)]


def _policies(response: AnchoreResponse) -> list[PolicyRow]:
    found = parse(_policy_list, response)
    return found if isinstance(found, list) else found.items


def _events(response: AnchoreResponse) -> EventPage:
    return parse(_event_page, response)


def _evaluation(response: AnchoreResponse, request: CheckRequest) -> Evaluated:
    check = parse(_check, response)
    if not check.evaluations:
        raise AnchoreResponseInvalid("Anchore's response holds no evaluation")
    latest = max(check.evaluations, key=lambda evaluation: comparable(evaluation.evaluation_time))
    expect_evaluated(request, tag=check.evaluated_tag or "", policy=check.policy_id or "")
    worst = kept(_findings(latest), request)
    has_passed = passed(latest.status, latest.final_action)
    evaluation = PolicyEvaluation(
        passed=has_passed,
        policy=cleaned(check.policy_id or request.policy or ""),
        reason=latest.reason,
        mapped=latest.mapped,
        findings=worst.findings,
        truncated=worst.truncated or not (request.detail or has_passed),
        findings_total=worst.findings_total if worst.truncated else None,
        warns=latest.final_action == "warn",
        warnings=worst.warnings,
        warnings_total=worst.warnings_total,
        problems=serious(latest.evaluation_problems),
        list_rule=_list_rule(latest),
        selectors=latest.details.policy.selectors if latest.details and latest.details.policy else None,
    )
    return Evaluated(check.image_digest or "", evaluation)


def _list_rule(evaluation: _Evaluation) -> str:
    match evaluation.reason:
        case PolicyReason.ALLOWLISTED:
            return rule_name(evaluation.matched_allowlisted_images_rule)
        case PolicyReason.DENYLISTED:
            return rule_name(evaluation.matched_denylisted_images_rule)
        case PolicyReason.EVALUATION:
            return ""


def _findings(evaluation: _Evaluation) -> Iterator[Finding] | None:
    """Return the findings that count; None if the response shows none."""
    shown = evaluation.details.findings if evaluation.details else None
    return None if shown is None else _counting(shown)


def _counting(findings: Iterable[_Finding]) -> Iterator[Finding]:
    for finding in findings:
        action = action_of(finding.action)
        if action and not finding.allowlisted:
            yield Finding(
                gate=finding.gate or "",
                trigger=finding.trigger or "",
                trigger_id=finding.trigger_id or "",
                message=finding.message or "",
                recommendation=finding.recommendation or "",
                action=action,
            )


V2 = Dialect(
    version="v2",
    full_tag="full_tag",
    policy="policy_id",
    pull_string="pull_string",
    subscribe="auto_subscribe",
    listed=_listed,
    held=_held,
    evaluation=_evaluation,
    policies=_policies,
    event_prefix="",
    events=_events,
)
