"""Anchore's API v1: Anchore Engine, and Anchore Enterprise up to 4.9."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter

from anchore_admission.adapters.anchore.answers import Answer, AnswerTooLarge, cleaned, parsed
from anchore_admission.adapters.anchore.dialect import Dialect
from anchore_admission.adapters.anchore.evaluations import (
    Evaluated,
    EvaluationProblem,
    ListRule,
    Question,
    ShownPolicy,
    expect_evaluated,
    kept,
    passed,
    reason_of,
    rule_name,
    serious,
)
from anchore_admission.adapters.anchore.records import (
    ImageRow,
    TagDetail,
    comparable,
)
from anchore_admission.core.facts import Finding, PolicyEvaluation, PolicyReason
from anchore_admission.errors import AnchoreReplyInvalid

_CELL = 4000


def _none_if_false(value: object) -> object:
    """A rule that did not match is the literal ``false``."""
    return value or None


_Rule = Annotated[ListRule | None, BeforeValidator(_none_if_false)]


class _Detail(TagDetail):
    full_tag: str | None = Field(None, alias="fulltag")


class _Image(ImageRow):
    image_digest: str | None = Field(None, alias="imageDigest")
    parent_digest: str | None = Field(None, alias="parentDigest")
    image_detail: tuple[_Detail, ...] | None = None


class _Table(BaseModel):
    """Findings as rows under a header whose order is Anchore's own affair."""

    header: list[str] = []
    rows: list[list[Any]] = []


class _ImageTable(BaseModel):
    result: _Table | None = None


def _only_tables(value: object) -> object:
    """Beside the tables, which are keyed by image ID, lie lists and texts (``policy_data``, ``policy_name``)."""
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


_images = TypeAdapter(list[_Image])
_checks = TypeAdapter(list[dict[str, dict[str, list[_Evaluation]]]])


def _rows(answer: Answer) -> list[_Image]:
    return parsed(_images, answer)


def _evaluation(answer: Answer, asked: Question) -> Evaluated:
    """Keyed by digest, then by tag. The digest is the platform's even where the list's was asked for."""
    found = [
        (digest, tag, evaluations)
        for by_digest in parsed(_checks, answer)
        for digest, by_tag in by_digest.items()
        for tag, evaluations in by_tag.items()
    ]
    if len(found) != 1 or not found[0][2]:
        raise AnchoreReplyInvalid("Anchore's answer holds no evaluation, or several")
    digest, tag, evaluations = found[0]
    latest = max(evaluations, key=lambda evaluation: comparable(evaluation.last_evaluation))
    outcome = latest.detail.result if latest.detail else None
    expect_evaluated(asked, tag=tag, policy=latest.policy_id)
    if outcome is None:
        return Evaluated(digest, _without_detail(latest, asked, answer.limit))
    evaluation = PolicyEvaluation(
        passed=passed(latest.status, outcome.final_action),
        policy=cleaned(latest.policy_id or asked.policy or ""),
        reason=reason_of(outcome.final_action_reason),
        mapped=outcome.matched_mapping_rule is not None,
        findings=kept(_findings(outcome)),
        problems=serious(outcome.evaluation_problems),
        list_rule=_list_rule(outcome),
        selectors=latest.detail.policy.selectors if latest.detail and latest.detail.policy else None,
    )
    return Evaluated(digest, evaluation)


def _without_detail(latest: _Evaluation, asked: Question, limit: int) -> PolicyEvaluation:
    """Without detail a pass hides whether a mapping matched; a failure stays one. Raises AnchoreReplyInvalid."""
    if asked.detail:
        raise AnchoreReplyInvalid("Anchore's evaluation lacks the detail that was asked for")
    if passed(latest.status, None):
        raise AnswerTooLarge(limit)
    return PolicyEvaluation(passed=False, policy=cleaned(latest.policy_id or asked.policy or ""))


def _list_rule(outcome: _Outcome) -> str:
    match reason_of(outcome.final_action_reason):
        case PolicyReason.ALLOWLISTED:
            return rule_name(outcome.matched_whitelisted_images_rule)
        case PolicyReason.DENYLISTED:
            return rule_name(outcome.matched_blacklisted_images_rule)
        case PolicyReason.EVALUATION:
            return ""


def _findings(outcome: _Outcome) -> Iterator[Finding]:
    for image in (outcome.result or {}).values():
        for row in image.result.rows if image.result else ():
            cells = dict(zip(image.result.header if image.result else (), row, strict=False))
            if str(cells.get("Gate_Action", "")).lower() == "stop" and not cells.get("Whitelisted"):
                yield Finding(
                    gate=_text(cells, "Gate"),
                    trigger=_text(cells, "Trigger"),
                    trigger_id=_text(cells, "Trigger_Id"),
                    message=_text(cells, "Check_Output"),
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
)
