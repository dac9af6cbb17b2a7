"""Reviews whose rules depend on the labels of the namespace."""

from typing import Any

import pytest

from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.namespaces import Labels
from anchore_admission.ports.telemetry import Origin
from support.builders import pod, request, template
from support.fakes import digest_of
from support.review_setup import APP, ReviewSetup

BY_LABEL: dict[str, Any] = {
    "defaults": {"mode": "skip"},
    "rules": [{"name": "prod", "match": {"namespaceSelector": {"matchLabels": {"env": "prod"}}}, "mode": "analysis"}],
}
LENIENT: dict[str, Any] = {**BY_LABEL, "rules": [{**BY_LABEL["rules"][0], "onError": "allow"}]}


class Namespaces:
    """Labels that the test changes; ``asked`` holds each question, with the permission to ask the API server."""

    def __init__(self, labels: Labels | None) -> None:
        self.labels = labels
        self.asked: list[tuple[str, bool]] = []

    async def labels_of(self, namespace: str, deadline: Deadline, *, may_ask: bool) -> Labels | None:
        assert deadline.left() > 0
        self.asked.append((namespace, may_ask))
        return self.labels


def setup_with(settings: dict[str, Any], labels: Labels | None) -> tuple[ReviewSetup, Namespaces]:
    namespaces = Namespaces(labels)
    return ReviewSetup(settings=settings, namespaces=namespaces), namespaces


def rules_of(verdict: ReviewVerdict) -> list[str]:
    return [image.judged.rule.name for image in verdict.images]


@pytest.mark.parametrize(
    ("labels", "rule", "allowed"),
    [({"env": "prod"}, "prod", False), ({"env": "test"}, "defaults", True), ({}, "defaults", True)],
)
async def test_the_labels_of_the_namespace_select_the_rule(labels: Labels, rule: str, *, allowed: bool) -> None:
    setup, namespaces = setup_with(BY_LABEL, labels)
    verdict = await setup.review(pod("team/unknown:1"))
    assert (rules_of(verdict), verdict.allowed) == ([rule], allowed)
    assert namespaces.asked == [("shop", True)]


@pytest.mark.parametrize(("settings", "allowed"), [(BY_LABEL, False), (LENIENT, True)])
async def test_unknown_labels_are_no_verdict_and_not_no_match(settings: dict[str, Any], *, allowed: bool) -> None:
    setup, _ = setup_with(settings, None)
    setup.anchore.store(APP)
    verdict = await setup.review(pod(APP))
    (image,) = verdict.images
    assert (image.verdict.decision, image.verdict.reason) == (Decision.NO_VERDICT, Reason.NAMESPACE_UNKNOWN)
    assert (rules_of(verdict), verdict.allowed) == (["prod"], allowed)
    assert setup.operations == [], "Anchore is not asked about an image whose rule is not known"


async def test_a_relabeled_namespace_falls_under_the_other_rule_at_once() -> None:
    setup, namespaces = setup_with(BY_LABEL, {"env": "test"})
    assert (await setup.review(pod("team/unknown:1"))).allowed
    namespaces.labels = {"env": "prod"}
    assert not (await setup.review(pod("team/unknown:1"))).allowed


async def test_a_namespace_named_in_the_object_does_not_count() -> None:
    setup, namespaces = setup_with(BY_LABEL, {"env": "prod"})
    await setup.review(pod("team/unknown:1", metadata={"namespace": "other"}))
    assert namespaces.asked == [("shop", True)]


async def test_a_review_by_hand_never_makes_us_ask_the_api_server() -> None:
    setup, namespaces = setup_with(BY_LABEL, {"env": "prod"})
    await setup.review(pod("team/unknown:1"), origin=Origin.MANUAL)
    assert namespaces.asked == [("shop", False)]


@pytest.mark.parametrize(
    ("settings", "review"),
    [
        ({"defaults": {"mode": "analysis"}}, {"new": pod(APP)}),
        (BY_LABEL, {"new": pod(APP), "operation": "DELETE"}),
        (BY_LABEL, {"new": template("Unknown", APP)}),
    ],
)
async def test_labels_are_looked_up_only_if_a_verdict_depends_on_them(
    settings: dict[str, Any], review: dict[str, Any]
) -> None:
    setup, namespaces = setup_with(settings, {"env": "prod"})
    await setup.review(**review)
    assert namespaces.asked == []


REQUIRING: dict[str, Any] = {
    "defaults": {"mode": "strict", "onError": "allow"},
    "rules": [
        {**BY_LABEL["rules"][0], "pin": "required"},
        {"name": "other", "match": {"namespaceSelector": {"matchLabels": {"env": "test"}}}, "onError": "warn"},
    ],
}


@pytest.mark.parametrize(
    ("image", "enforcement", "rule", "allowed"),
    [
        (APP, "deny", "prod", False),
        (APP, "warn", "other", True),
        (f"{APP}@{digest_of(APP)}", "deny", "other", True),
        ("UPPER:1", "deny", "other", False),
    ],
)
async def test_unknown_labels_admit_no_tag_where_a_digest_may_be_required(
    image: str, enforcement: str, rule: str, *, allowed: bool
) -> None:
    setup, _ = setup_with({**REQUIRING, "defaults": {**REQUIRING["defaults"], "enforcement": enforcement}}, None)
    verdict = await setup.review(pod(image))

    assert (rules_of(verdict), verdict.allowed) == ([rule], allowed)
    # Nothing requires the digest of a template.
    assert (await setup.review(template("Deployment", APP))).allowed
    assert (await setup.pinning.mutate(request(pod(image)), setup.deadline())).patch == ()


async def test_a_value_that_is_not_known_admits_no_tag_where_a_digest_is_required() -> None:
    chosen = {"namespaceLabel": "policy", "allowed": {"a": "p", "b": "q"}}
    rule = {"name": "prod", "pin": "required", "onError": "allow", "mode": "strict", "policyFrom": chosen}
    setup, _ = setup_with({"rules": [rule]}, None)

    assert not (await setup.review(pod(APP))).allowed
    assert (await setup.review(pod(f"{APP}@{digest_of(APP)}"))).allowed
