"""Rules that no image can match."""

from typing import Any

import pytest

from anchore_admission.models.configuration import Configuration
from anchore_admission.services.config.unreachable import unreachable_rules


def _warnings(*matches: dict[str, Any]) -> list[str]:
    rules = [{"name": name, "match": match} for name, match in zip("abc", matches, strict=False)]
    return [str(problem) for problem in unreachable_rules(Configuration.model_validate({"rules": rules}))]


@pytest.mark.parametrize(
    "everything",
    [
        {},
        {"images": ["*"]},
        {"images": ["quay.io/*", "**"]},
        {"namespaces": ["*"], "users": ["*"]},
    ],
)
def test_rules_below_one_that_matches_everything_never_apply(everything: dict[str, Any]) -> None:
    assert _warnings({"namespaces": ["a"]}, everything, {"namespaces": ["b"]}) == [
        "rules[2]: c never applies: rules[1] (b) above it matches every image"
    ]


def test_every_unreachable_rule_is_named_with_the_first_reason() -> None:
    assert _warnings({}, {}, {}) == [
        "rules[1]: b never applies: rules[0] (a) above it matches every image",
        "rules[2]: c never applies: rules[0] (a) above it matches every image",
    ]


@pytest.mark.parametrize(
    "some",
    [
        {"images": ["docker.io/*"]},
        {"namespaces": ["?*"]},
        {"images": ["*"], "namespaces": ["a"]},
        {"groups": ["*"]},
        {"serviceAccounts": ["*"]},
        {"annotations": {"a": ["*"]}},
        {"objectSelector": {"matchLabels": {"a": "b"}}},
    ],
)
def test_rules_below_one_that_some_images_pass_by_apply(some: dict[str, Any]) -> None:
    assert _warnings(some, {"namespaces": ["b"]}) == []


def test_a_rule_that_matches_everything_may_be_the_last() -> None:
    assert _warnings({"namespaces": ["a"]}, {}) == []
