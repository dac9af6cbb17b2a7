"""Explanations of the rule that an image falls under."""

from typing import Any

import pytest

from anchore_admission.core.explain import STRICTEST, Explanation, PassedOver, explanation_of
from anchore_admission.core.images import judged_images
from anchore_admission.core.rules.book import compile_rules
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.core.workload import ContainerImage
from anchore_admission.models.configuration import Configuration

_APP = "quay.io/team/app:1"
_PROD = {"matchLabels": {"env": "prod"}}


def _explained(*rules: dict[str, Any], image: str = _APP, most: int | None = None, **values: Any) -> Explanation:
    configuration = Configuration.model_validate({"rules": list(rules), "defaults": {"mode": "strict"}})
    book = compile_rules(configuration.rules, configuration.defaults)
    circumstances = Circumstances(**values)
    [judged] = judged_images(book.narrowed(circumstances), {image: [ContainerImage("containers", "app", image)]})
    return explanation_of(judged, book.narrowed(circumstances), most=most)


@pytest.mark.parametrize(
    ("match", "keys"),
    [
        ({"images": ["docker.io/*"]}, ["images"]),
        ({"images": ["docker.io/*"], "namespaces": ["a"], "users": ["*"]}, ["namespaces", "images"]),
        ({"serviceAccounts": ["*"], "groups": ["*"]}, ["groups", "serviceAccounts"]),
        ({"annotations": {"a": ["*"], "b": ["c*"]}, "objectSelector": _PROD}, ["annotations.a", "objectSelector"]),
        ({"except": {"images": ["quay.io/*"]}}, ["except"]),
        ({"namespaces": ["a"], "except": {"images": ["quay.io/*"]}}, ["namespaces"]),
        ({"namespaceSelector": _PROD}, ["namespaceSelector"]),
    ],
)
def test_a_rule_is_passed_over_for_the_keys_that_do_not_hold(match: dict[str, Any], keys: list[str]) -> None:
    explanation = _explained({"name": "other", "match": match}, namespace_labels={}, annotations={"b": "cd"})

    assert explanation.rule.name == "defaults"
    assert explanation.passed_over == (PassedOver("other", tuple(keys)),)
    assert explanation.problem == ""


def test_rules_after_the_one_that_applies_are_not_named() -> None:
    rules = [{"name": name, "match": match} for name, match in (("a", {"users": ["x"]}), ("b", {}), ("c", {}))]
    explanation = _explained(*rules)

    assert explanation.rule.name == "b"
    assert [passed.rule for passed in explanation.passed_over] == ["a"]


def test_a_long_list_is_cut_and_the_rest_is_counted() -> None:
    explanation = _explained(*({"name": f"r{n}", "match": {"users": ["x"]}} for n in range(5)), most=2)

    assert [passed.rule for passed in explanation.passed_over] == ["r0", "r1"]
    assert explanation.more == 3


def test_unknown_labels_of_the_namespace_are_a_problem() -> None:
    lax = {"name": "lax", "match": {"namespaceSelector": _PROD}, "mode": "skip"}
    explanation = _explained(lax, namespace="shop")

    assert explanation.rule.name == "defaults"
    assert explanation.passed_over == (PassedOver("lax", ("namespaceSelector (unknown)",)),)
    assert explanation.problem == "the labels of namespace shop are not known"


def test_a_choice_is_shown_with_its_values_and_its_problem() -> None:
    rule = {"name": "by-label", "policyFrom": {"label": "policy", "allowed": {"pci": "policy-pci"}}}

    assert _explained(rule, labels={"policy": "pci"}).rule.policy == "policy-pci"
    assert "policy" in _explained(rule).problem


@pytest.mark.parametrize(
    ("image", "rule", "problem"),
    [
        ("sha256:" + "a" * 64, "defaults", STRICTEST),
        ("quay.io/Team/app", "lax", "is not a valid image reference"),
        ("", "defaults", "no image"),
    ],
)
def test_an_image_that_cannot_be_checked_has_a_problem(image: str, rule: str, problem: str) -> None:
    explanation = _explained({"name": "lax", "match": {"images": ["quay.io/*"]}, "mode": "passive"}, image=image)

    assert explanation.rule.name == rule
    assert explanation.problem.startswith(problem)
