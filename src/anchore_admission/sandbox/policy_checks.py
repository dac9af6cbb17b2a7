"""Mistakes that Anchore rejects in a policy of the right shape: unknown gates, parameters and references."""

from collections.abc import Iterator
from typing import Any

from anchore_admission.sandbox.gates import (
    ENGINE_GATES,
    KNOWN_GATES,
    KNOWN_TRIGGERS,
    PARAMETERS,
    UNSUPPORTED_PARAMETERS,
)
from anchore_admission.sandbox.policy_models import Policy, Rule

Detail = dict[str, str]


def _detail(problem_type: str, details: str) -> Detail:
    return {"severity": "error", "problem_type": problem_type, "details": details}


def _about(rule: Rule, **more: Any) -> str:
    facts = {"gate": rule.gate, "trigger": rule.trigger, "rule_id": rule.id, **more}
    return f"({','.join(f'{name}={value}' for name, value in facts.items())})"


def policy_problems(policy: Policy) -> list[Detail]:
    """Return the mistakes that Anchore would reject; none for a policy that it accepts."""
    found = [problem for rule_set in policy.rule_sets for rule in rule_set.rules for problem in _rule_problems(rule)]
    return [*found, *_reference_problems(policy)]


def _rule_problems(rule: Rule) -> Iterator[Detail]:
    if rule.gate not in KNOWN_GATES:
        about = _about(rule, trigger=None, valid_gates=list(ENGINE_GATES))
        message = "The specified gate is not found in the policy engine as a valid gate name"
        yield _detail("GateNotFoundError", f"{message} {about}")
    elif rule.gate in KNOWN_TRIGGERS and rule.trigger not in KNOWN_TRIGGERS[rule.gate]:
        triggers = sorted(KNOWN_TRIGGERS[rule.gate])
        message = f"Trigger not found for specified gate. Valid triggers are: {triggers}"
        yield _detail("TriggerNotFoundError", f"{message} {_about(rule)}")
    elif (rule.gate, rule.trigger) == ("vulnerabilities", "package"):
        yield from _parameter_problems(rule)


def _parameter_problems(rule: Rule) -> Iterator[Detail]:
    if "package_type" not in rule.params:
        about = _about(rule, required_parameter="package_type")
        yield _detail("RequiredParameterNotSetError", f"Required parameter {about}")
    for name, value in rule.params.items():
        if name in UNSUPPORTED_PARAMETERS:
            continue
        if name not in PARAMETERS:
            about = _about(rule, parameter=name, valid_parameters=sorted({*PARAMETERS, *UNSUPPORTED_PARAMETERS}))
            yield _detail("InvalidParameterError", f"Rule validation error {about}")
        elif value not in PARAMETERS[name]:
            message = f"'{value}' is not one of {list(PARAMETERS[name])}"
            yield _detail("ParameterValueInvalidError", f"{message} {_about(rule, parameter=name)}")


def _reference_problems(policy: Policy) -> Iterator[Detail]:
    rule_sets = {rule_set.id for rule_set in policy.rule_sets}
    allowlists = {allowlist.id for allowlist in policy.allowlists}
    for mapping in policy.mappings:
        if not mapping.all_rule_set_ids:
            yield _detail(
                "ValidationError", f"No policy_id or policy_ids property found for mapping rule: {mapping.name}"
            )
        for kind, wanted, known in (
            ("policy", mapping.all_rule_set_ids, rule_sets),
            ("whitelist", mapping.allowlist_ids, allowlists),
        ):
            for missing in (name for name in wanted if name not in known):
                about = f"(reference_type={kind},reference_id={missing})"
                yield _detail("ReferencedObjectNotFoundError", f"Referenced object not found {about}")
