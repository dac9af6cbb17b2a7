"""Metrics about the webhook configurations, of which there may be two."""

import pytest
from prometheus_client import CollectorRegistry

from anchore_admission.adapters.cluster_metrics import ClusterMetrics
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.ports.telemetry import Repair

MUTATING, VALIDATING = WebhookKind.MUTATING, WebhookKind.VALIDATING
BOTH = (MUTATING, VALIDATING)


@pytest.mark.parametrize(
    ("kinds", "reports", "current"),
    [
        (BOTH, [], 0),
        (BOTH, [(MUTATING, True)], 0),  # the leader has not looked at the other one yet
        (BOTH, [(MUTATING, True), (VALIDATING, True)], 1),
        (BOTH, [(MUTATING, True), (VALIDATING, True), (MUTATING, False)], 0),
        (BOTH, [(MUTATING, False), (VALIDATING, True)], 0),
        ([VALIDATING], [], 0),
        ([VALIDATING], [(VALIDATING, True)], 1),
        ([], [], 0),
    ],
)
def test_current_means_that_every_configuration_is(
    kinds: list[WebhookKind], reports: list[tuple[WebhookKind, bool]], current: int
) -> None:
    registry = CollectorRegistry()
    metrics = ClusterMetrics(registry, kinds)
    for kind, is_current in reports:
        metrics.registration_current(kind, is_current)
    assert registry.get_sample_value("anchore_admission_registration_current") == current


def test_fields_that_stay_are_those_of_every_configuration() -> None:
    registry = CollectorRegistry()
    metrics = ClusterMetrics(registry, BOTH)
    for kind, fields in ((MUTATING, 1), (VALIDATING, 2), (MUTATING, 3)):
        metrics.registration_left_in_place(kind, fields)
    assert registry.get_sample_value("anchore_admission_registration_left_in_place") == 2 + 3


def test_repairs_are_counted_from_the_start() -> None:
    registry = CollectorRegistry()
    ClusterMetrics(registry, BOTH).registration_repaired(Repair.WHILE_LEADING)
    values = {
        when: registry.get_sample_value("anchore_admission_registration_repairs_total", {"when": when})
        for when in Repair
    }
    assert values == {Repair.WHILE_LEADING: 1, Repair.ON_TAKING_OVER: 0}
