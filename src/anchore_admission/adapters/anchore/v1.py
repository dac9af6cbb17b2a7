"""Anchore's API v1: Anchore Engine, and Anchore Enterprise up to 4.9."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter

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
from anchore_admission.adapters.anchore.events import EventPage, EventRow, EventText
from anchore_admission.adapters.anchore.policies import PolicyId, PolicyRow
from anchore_admission.adapters.anchore.records import (
    ImageRow,
    TagDetail,
    comparable,
)
from anchore_admission.adapters.anchore.responses import AnchoreResponse, parse, too_large
from anchore_admission.adapters.failures import cleaned
from anchore_admission.core.facts import Finding, PolicyEvaluation, PolicyReason
from anchore_admission.errors import AnchoreResponseInvalid

_CELL = 4000
_ACTION = "Gate_Action"


def _none_if_false(value: object) -> object:
    """Replace ``false``, which stands for a rule that did not match."""
    return value or None


_Rule = Annotated[ListRule | None, BeforeValidator(_none_if_false)]


class _Detail(TagDetail):
    full_tag: str | None = Field(None, alias="fulltag")


class _Image(ImageRow):
    image_digest: str | None = Field(None, alias="imageDigest")
    parent_digest: str | None = Field(None, alias="parentDigest")
    image_detail: tuple[_Detail, ...] | None = None


class _Table(BaseModel):
    """Findings as rows under a header whose order Anchore does not guarantee."""

    header: list[str] = []
    rows: list[list[Any]] = []


class _ImageTable(BaseModel):
    result: _Table | None = None


def _only_tables(value: object) -> object:
    """Keep the tables, which are keyed by image ID, and drop other members such as ``policy_data``, ``policy_name``."""
    return {key: part for key, part in value.items() if isinstance(part, dict)} if isinstance(value, dict) else None


_Tables = Annotated[dict[str, _ImageTable] | None, BeforeValidator(_only_tables)]


class _Outcome(BaseModel):
    final_action: str | None = None
    final_action_reason: str | None = None
    matched_mapping_rule: _Rule = None
    matched_whitelisted_images_rule: _Rule = None
    matched_blacklisted_images_rule: _Rule = None
    evaluation_problems: list[EvaluationProblem] | None = None
    result: _Tables = None


class _EvaluationDetail(BaseModel):
    policy: ShownPolicy = None
    result: _Outcome | None = None


class _Evaluation(BaseModel):
    policy_id: str = Field("", alias="policyId")
    status: str | None = None
    last_evaluation: str | None = None
    detail: _EvaluationDetail | None = None


class _Policy(PolicyRow):
    policy_id: PolicyId = Field(alias="policyId")


class _EventRow(EventRow):
    event_id: EventText = Field("", alias="generated_uuid")


class _EventPage(EventPage):
    results: list[_EventRow]


_images = TypeAdapter(list[_Image])
_policy_list = TypeAdapter(list[_Policy])
_event_page = TypeAdapter(_EventPage)
_checks = TypeAdapter(list[dict[str, dict[str, list[_Evaluation]]]])


def _rows(response: AnchoreResponse) -> list[_Image]:
    return parse(_images, response)


def _policies(response: AnchoreResponse) -> list[_Policy]:
    return parse(_policy_list, response)


def _events(response: AnchoreResponse) -> EventPage:
    return parse(_event_page, response)


def _evaluation(response: AnchoreResponse, request: CheckRequest) -> Evaluated:
    """Read a response that is keyed by digest, then by tag.

    The digest is the platform's even if that of the manifest list was requested.
    """
    found = [
        (digest, tag, evaluations)
        for by_digest in parse(_checks, response)
        for digest, by_tag in by_digest.items()
        for tag, evaluations in by_tag.items()
    ]
    # Take the only entry: its keys are the normalized tag and the platform's digest, maybe not those that were sent.
    if len(found) != 1 or not found[0][2]:
        raise AnchoreResponseInvalid("Anchore's response holds no evaluation, or several")
    digest, tag, evaluations = found[0]
    latest = max(evaluations, key=lambda evaluation: comparable(evaluation.last_evaluation))
    outcome = latest.detail.result if latest.detail else None
    expect_evaluated(request, tag=tag, policy=latest.policy_id)
    if outcome is None:
        return Evaluated(digest, _without_detail(latest, request, response.limit))
    worst = kept(_findings(outcome), request)
    evaluation = PolicyEvaluation(
        passed=passed(latest.status, outcome.final_action),
        policy=cleaned(latest.policy_id or request.policy or ""),
        reason=reason_of(outcome.final_action_reason),
        # Without a matching mapping, API v1 lets an image pass (``go``); ``requireMapping`` denies it.
        mapped=outcome.matched_mapping_rule is not None,
        findings=worst.findings,
        truncated=worst.truncated,
        findings_total=worst.findings_total if worst.truncated else None,
        warns=outcome.final_action == "warn",
        warnings=worst.warnings,
        warnings_total=worst.warnings_total,
        problems=serious(outcome.evaluation_problems),
        list_rule=_list_rule(outcome),
        selectors=latest.detail.policy.selectors if latest.detail and latest.detail.policy else None,
    )
    return Evaluated(digest, evaluation)


def _without_detail(latest: _Evaluation, request: CheckRequest, limit: int) -> PolicyEvaluation:
    """Accept a failure without detail, but not a pass: it hides whether a mapping matched.

    Raises AnchoreResponseInvalid.
    """
    if request.detail:
        raise AnchoreResponseInvalid("Anchore's evaluation lacks the requested detail")
    if passed(latest.status, None):
        raise too_large(limit)
    return PolicyEvaluation(passed=False, policy=cleaned(latest.policy_id or request.policy or ""), truncated=True)


def _list_rule(outcome: _Outcome) -> str:
    match reason_of(outcome.final_action_reason):
        case PolicyReason.ALLOWLISTED:
            return rule_name(outcome.matched_whitelisted_images_rule)
        case PolicyReason.DENYLISTED:
            return rule_name(outcome.matched_blacklisted_images_rule)
        case PolicyReason.EVALUATION:
            return ""


def _findings(outcome: _Outcome) -> Iterator[Finding] | None:
    """Return the rows that count; None if the response has no table of them."""
    found = [image.result for image in (outcome.result or {}).values() if image.result]
    tables = [table for table in found if _ACTION in table.header]
    return (finding for table in tables for finding in _rows_of(table)) if tables else None


def _rows_of(table: _Table) -> Iterator[Finding]:
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=False))
        action = action_of(str(cells.get(_ACTION, "")))
        # ``Whitelisted`` is false, or the entry of the allow list that matched.
        if action and not cells.get("Whitelisted"):
            yield Finding(
                gate=_text(cells, "Gate"),
                trigger=_text(cells, "Trigger"),
                trigger_id=_text(cells, "Trigger_Id"),
                message=_text(cells, "Check_Output"),
                action=action,
            )


def _text(cells: dict[str, Any], column: str) -> str:
    value = cells.get(column)
    return value if isinstance(value, str) else "" if value is None else str(value)[:_CELL]


V1 = Dialect(
    version="v1",
    full_tag="fulltag",
    policy="policyId",
    pull_string="pullstring",
    subscribe="autosubscribe",
    listed=_rows,
    held=_rows,
    evaluation=_evaluation,
    policies=_policies,
    event_prefix="*",
    events=_events,
)
