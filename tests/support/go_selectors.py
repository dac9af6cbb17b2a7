"""The selection of the Go controller, written from its source alone, for comparison with what we make of it.

Source: `configuration.go`, `resource_selector.go` and `validator.go` in the package `validation`, and
`anchore/config.go`, of github.com/anchore/kubernetes-admission-controller. `tests/data/go-controller` holds what the
program itself answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import re2


@dataclass(frozen=True)
class ObjectMeta:
    """The metadata that selectors look at."""

    name: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The configuration of the selector that matched; ``error`` is why its validator denies everything."""

    mode: str
    username: str
    policy: str
    error: str = ""


def new_configuration(
    meta: ObjectMeta, image: str, selectors: Sequence[Mapping[str, Any]], namespaces: Mapping[str, ObjectMeta]
) -> Mapping[str, Any] | None:
    """Return the first selector that matches, in the order of the file."""
    for selector in selectors:
        selected = _select_object_meta(selector["type"], meta, namespaces)
        if selected is not None:
            if _does_object_match(selected, selector):
                return selector
        elif match_string(selector["value"], image):
            return selector
    return None


def outcome_of(selector: Mapping[str, Any] | None, users: Sequence[str]) -> Outcome | None:
    """Return what follows from a selector; None admits."""
    if selector is None:
        return None
    error = ""
    if selector["username"] not in users:
        error = "credentials"
    elif selector["mode"] not in {"policy", "analysis", "breakglass"}:
        error = "mode"
    return Outcome(selector["mode"], selector["username"], selector["policy"], error)


def match_string(expression: str, text: str) -> bool:
    """Search as Go's ``regexp.MatchString`` does; an expression that cannot be read matches nothing."""
    if r"\C" in expression:  # Go rejects it, RE2 in C++ does not
        return False
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options).search(text) is not None
    except re2.error:
        return False


def _select_object_meta(
    resource_type: str, meta: ObjectMeta, namespaces: Mapping[str, ObjectMeta]
) -> ObjectMeta | None:
    if resource_type == "resource":
        return meta
    if resource_type == "namespace":
        return namespaces.get(meta.namespace)
    return None


def _does_object_match(meta: ObjectMeta, selector: Mapping[str, Any]) -> bool:
    for pairs in (meta.labels, meta.annotations):
        for key, value in pairs.items():
            if match_string(selector["key"], key) and match_string(selector["value"], value):
                return True
    if selector["key"].lower() == "name":
        return match_string(selector["value"], meta.name)
    return False
