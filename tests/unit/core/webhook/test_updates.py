from typing import Any

import pytest

from anchore_admission.core.webhook.drift import Registration
from anchore_admission.core.webhook.entry import WebhookKind, WebhookOptions, webhook_configuration
from anchore_admission.core.webhook.updates import sending_every_update, withholding


def registration(kind: WebhookKind, **options: Any) -> Registration:
    made = webhook_configuration(WebhookOptions("gate", {"url": "https://gate"}, kind=kind, **options))
    return Registration("gate", made["webhooks"], kind)


def names(wanted: Registration) -> list[str]:
    return [condition["name"] for entry in wanted.webhooks for condition in entry.get("matchConditions", ())]


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        (WebhookKind.VALIDATING, ["not-another-release"]),
        (WebhookKind.MUTATING, ["spec-changes", "not-another-release"]),
    ],
)
def test_only_the_validating_webhook_is_sent_every_update(kind: WebhookKind, kept: list[str]) -> None:
    assert names(sending_every_update(registration(kind))) == kept
    assert names(registration(kind, every_update=True)) == kept


@pytest.mark.parametrize("kind", WebhookKind)
def test_nothing_else_changes(kind: WebhookKind) -> None:
    without = registration(kind, match_conditions=False)
    assert sending_every_update(without) == without
    assert sending_every_update(registration(kind)) == registration(kind, every_update=True)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (None, []),
        ([], []),
        ([{"name": "no-leases", "expression": "request.resource.resource != 'leases'"}], []),
        ([{"name": "mine", "expression": "object != oldObject"}, {"name": "other", "expression": "true"}], ["mine"]),
    ],
)
def test_conditions_that_compare_with_the_old_object_may_keep_updates_away(
    conditions: list[dict[str, str]] | None, expected: list[str]
) -> None:
    assert withholding([{"name": "gate", "matchConditions": conditions}]) == expected


def test_our_own_condition_is_one_of_them() -> None:
    assert withholding(registration(WebhookKind.VALIDATING).webhooks) == ["spec-changes"]
    assert withholding(registration(WebhookKind.VALIDATING, every_update=True).webhooks) == []
