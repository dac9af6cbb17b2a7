"""Reject exemptions that would last too long, and break-glass that is not limited to some users."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from anchore_admission.core.rules.exemptions import latest_expiry
from anchore_admission.core.rules.patterns import PatternMasks, pattern_of
from anchore_admission.errors import InvalidPattern, Problem
from anchore_admission.models.configuration import EXPRESSION, Configuration, ModeName
from anchore_admission.models.moments import parse_end, written_time

Part = dict[str, Any]

_SERVICE_ACCOUNTS = "system:serviceaccount"
_NAME = re.compile(r"[a-z0-9:.-]{1,400}")
_STRANGERS = ("a", "0", "jane.doe@example.com", "https://login.example.com#Jane Doe", "9b2e1c7e-6c1f-4a53-8e0e-2f1d")
"""Names that have nothing in common: a pattern that matches all of them matches everyone."""
_EVERYONE = {
    "groups": (
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:serviceaccounts:kube-system",
        "system:nodes",
    ),
    "users": (
        "system:anonymous",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:node:node-1",
        "system:serviceaccount:default:default",
        "system:serviceaccount:kube-system:replicaset-controller",
        "system:serviceaccount:kube-system:deployment-controller",
        "system:serviceaccount:kube-system:job-controller",
        "system:serviceaccount:kube-system:statefulset-controller",
        "system:serviceaccount:kube-system:daemon-set-controller",
        "system:serviceaccount:kube-system:replication-controller",
    ),
}
"""Groups that every client of a kind belongs to, and users behind which any author may stand."""


def exemption_problems(document: Part, now: float) -> Iterator[Problem]:
    """Yield every exemption that ends too late. ``now`` is a Unix time. An expired one is valid: it only ends."""
    limits = document.get("limits")
    days = limits.get("exemptionDays") if isinstance(limits, dict) else None
    if not isinstance(days, int) or days < 1:
        days = Configuration().limits.exemption_days
    latest = latest_expiry(now, days)
    for number, exemption in enumerate(_list(document.get("exemptions"))):
        with suppress(ValueError):  # the model reports it
            if isinstance(exemption, dict) and parse_end(exemption.get("expires")) > latest:
                text = f"expected an end by {written_time(latest)}, at most {days} days ahead (limits.exemptionDays)"
                yield Problem(f"exemptions[{number}].expires", text)


def break_glass_problems(path: str, rule: Part, default_mode: object) -> Iterator[Problem]:
    """Yield the reasons why a rule may have no break-glass: it denies nothing, or anyone could use it."""
    if rule.get("breakGlass") is None:
        return
    mode = rule.get("mode") or default_mode
    if not rule.get("modeFrom") and mode in (ModeName.SKIP, ModeName.PASSIVE):
        yield Problem(f"{path}.breakGlass", f"mode {mode} denies no image; expected mode analysis or strict")
    match = rule.get("match")
    keys = match if isinstance(match, dict) else {}
    if not keys.get("users") and not keys.get("groups"):
        yield Problem(f"{path}.breakGlass", "match must name the users or groups that may use it")
    for key in ("users", "groups"):
        for number, pattern in enumerate(_list(keys.get(key))):
            if isinstance(pattern, str) and (found := _too_wide(key, pattern)):
                text = f"{found}; a rule with breakGlass must name the people who may use it"
                yield Problem(f"{path}.match.{key}[{number}]", text)


def _too_wide(key: str, pattern: str) -> str:
    """Return which users of other kinds than people a pattern is for, or everyone; empty if none."""
    written = pattern.removeprefix(EXPRESSION)
    if key == "groups" and written.startswith(f"{_SERVICE_ACCOUNTS}s:"):
        return "is a group of service accounts"
    if key == "users" and written.startswith("system:node:"):
        return "is a node"
    if key == "users" and written.startswith(f"{_SERVICE_ACCOUNTS}:") and not _NAME.fullmatch(pattern):
        return "is a pattern for service accounts; write their exact names"
    try:
        patterns = PatternMasks.of([(pattern_of(pattern), 1)])
    except InvalidPattern:
        return ""  # reported with the other patterns
    if all(patterns.matching(name) for name in _STRANGERS):
        return f"matches all {key}"
    found = next((name for name in _EVERYONE[key] if patterns.matching(name)), "")
    return f"matches {found}" if found else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
