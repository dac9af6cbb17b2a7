"""Evaluate one policy for one image under one tag."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from anchore_admission.sandbox.gates import Match, NotImplementedGateError, fire
from anchore_admission.sandbox.policy_models import (
    Allowlist,
    AllowlistItem,
    ImageRule,
    MappingRule,
    Policy,
    Rule,
    RuleSet,
)
from anchore_admission.sandbox.references import Reference
from anchore_admission.sandbox.registry import Content

Action = Literal["go", "warn", "stop"]
Reason = Literal["policy_evaluation", "allowlisted", "denylisted"]
R = TypeVar("R", bound=ImageRule)


@dataclass(frozen=True, slots=True)
class EvaluationProblem:
    """A reason why the outcome cannot be trusted."""

    problem_type: str
    details: str
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Row:
    """One finding of one rule."""

    match: Match
    rule: Rule
    rule_set_id: str
    action: Action
    allowlist: Allowlist | None = None
    allowlist_item: AllowlistItem | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The outcome, and the parts of the policy that led to it."""

    final_action: Action
    reason: Reason
    policy_action: Action
    rows: tuple[Row, ...]
    problems: tuple[EvaluationProblem, ...]
    mapping: MappingRule | None
    allowed_by: ImageRule | None
    denied_by: ImageRule | None

    @property
    def status(self) -> Literal["pass", "fail"]:
        return "fail" if self.final_action == "stop" else "pass"


class _RuleError(Exception):
    """Anchore's own failure to apply an image rule."""

    def __init__(self, rule: ImageRule, problem: EvaluationProblem) -> None:
        super().__init__(problem.details)
        self.rule = rule
        self.problem = problem


def evaluate(policy: Policy, content: Content, tag: Reference, now: float, *, by_tag_only: bool) -> Evaluation:
    """Apply the image lists and the first mapping that matches.

    ``by_tag_only`` imitates v1, which selects a mapping before it loads the image, so that one with a digest or an
    image ID breaks the evaluation.
    """
    denied_by = _listed(policy.denylisted_images, tag, content)
    allowed_by = _listed(policy.allowlisted_images, tag, content)
    try:
        mapping = _first(policy.mappings, tag, None if by_tag_only else content)
    except _RuleError as error:
        broken = error.rule if isinstance(error.rule, MappingRule) else None
        return Evaluation("stop", "policy_evaluation", "stop", (), (error.problem,), broken, None, None)
    rows, problems = _apply(policy, mapping, content, now) if mapping else ([], [])
    action = _worst(rows)
    if problems:
        action = "stop"
    return _concluded(action, rows=rows, problems=problems, mapping=mapping, allowed_by=allowed_by, denied_by=denied_by)


def _concluded(
    action: Action,
    *,
    rows: Sequence[Row],
    problems: Sequence[EvaluationProblem],
    mapping: MappingRule | None,
    allowed_by: ImageRule | None,
    denied_by: ImageRule | None,
) -> Evaluation:
    """Let a deny list win over an allow list, and that over the policy; no list saves a failed evaluation."""
    final: Action = action
    reason: Reason = "policy_evaluation"
    if denied_by is not None:
        final, reason = "stop", "denylisted"
    elif allowed_by is not None and not problems:
        final, reason = "go", "allowlisted"
    return Evaluation(final, reason, action, tuple(rows), tuple(problems), mapping, allowed_by, denied_by)


def _worst(rows: Sequence[Row]) -> Action:
    actions = {row.action for row in rows}
    return "stop" if "stop" in actions else "warn" if "warn" in actions else "go"


def _listed(rules: Sequence[ImageRule], tag: Reference, content: Content) -> ImageRule | None:
    try:
        return _first(rules, tag, content)
    except _RuleError:
        return None  # the mappings fail on the same tag and report it


def _first(rules: Sequence[R], tag: Reference, content: Content | None) -> R | None:
    return next((rule for rule in rules if _matches(rule, tag, content)), None)


def _matches(rule: ImageRule, tag: Reference, content: Content | None) -> bool:
    if not (_glob(rule.registry, tag.registry or "") and _glob(rule.repository, tag.repo or "")):
        return False
    if rule.image.type == "tag":
        if tag.tag is None:
            # a digest reference where a tag belongs: recorded as a false stop of a real engine
            raise _RuleError(rule, EvaluationProblem("TypeError", "expected string or bytes-like object"))
        return _glob(rule.image.value, tag.tag)
    if content is None:
        attribute = "digest" if rule.image.type == "digest" else "id"
        details = f"'NoneType' object has no attribute '{attribute}'"
        raise _RuleError(rule, EvaluationProblem("AttributeError", details))
    return rule.image.value == (content.digest if rule.image.type == "digest" else content.image_id)


def _glob(pattern: str, value: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), value) is not None


def _apply(
    policy: Policy, mapping: MappingRule, content: Content, now: float
) -> tuple[list[Row], list[EvaluationProblem]]:
    rule_sets = {rule_set.id: rule_set for rule_set in policy.rule_sets}
    allowlists = [a for a in policy.allowlists if a.id in mapping.allowlist_ids]
    rows: list[Row] = []
    problems: list[EvaluationProblem] = []
    for rule_set in (rule_sets[name] for name in mapping.all_rule_set_ids):
        for rule in rule_set.rules:
            try:
                rows += _rows(rule, rule_set, content, allowlists, now)
            except NotImplementedGateError as error:
                problems.append(EvaluationProblem("GateNotImplementedError", f"{error} (rule {rule.id})"))
    return rows, problems


def _rows(
    rule: Rule, rule_set: RuleSet, content: Content, allowlists: Sequence[Allowlist], now: float
) -> Iterator[Row]:
    actions: dict[str, Action] = {"GO": "go", "WARN": "warn", "STOP": "stop"}
    for match in fire(rule.gate, rule.trigger, content, rule.params):
        for allowlist in allowlists:
            item = next((i for i in allowlist.items if _allows(i, rule, match, now)), None)
            if item is not None:
                yield Row(match, rule, rule_set.id, "go", allowlist, item)
                break
        else:
            yield Row(match, rule, rule_set.id, actions[rule.action])


def _allows(item: AllowlistItem, rule: Rule, match: Match, now: float) -> bool:
    if item.expires_on is not None and item.expires_on.timestamp() <= now:
        return False
    return item.gate == rule.gate and _glob(item.trigger_id, match.trigger_id)
