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
        (BOTH, [], {MUTATING: 0, VALIDATING: 0}),
        (BOTH, [(MUTATING, True)], {MUTATING: 1, VALIDATING: 0}),  # the leader has not looked at the other one yet
        (BOTH, [(MUTATING, True), (VALIDATING, True)], {MUTATING: 1, VALIDATING: 1}),
        (BOTH, [(MUTATING, True), (VALIDATING, True), (MUTATING, False)], {MUTATING: 0, VALIDATING: 1}),
        ([VALIDATING], [], {VALIDATING: 0}),
        ([VALIDATING], [(VALIDATING, True)], {VALIDATING: 1}),
        ([], [], {}),
    ],
)
def test_each_configuration_is_current_or_not(
    kinds: list[WebhookKind], reports: list[tuple[WebhookKind, bool]], current: dict[WebhookKind, int]
) -> None:
    registry = CollectorRegistry()
    metrics = ClusterMetrics(registry, kinds)
    for kind, is_current in reports:
        metrics.registration_current(kind, is_current)
    assert by_kind(registry, "anchore_admission_registration_current") == current


def test_fields_that_stay_are_counted_for_each_configuration() -> None:
    registry = CollectorRegistry()
    metrics = ClusterMetrics(registry, BOTH)
    for kind, fields in ((MUTATING, 1), (VALIDATING, 2), (MUTATING, 3)):
        metrics.registration_left_in_place(kind, fields)
    assert by_kind(registry, "anchore_admission_registration_left_in_place") == {MUTATING: 3, VALIDATING: 2}


@pytest.mark.parametrize("when", Repair)
def test_repairs_are_counted_from_the_start(when: Repair) -> None:
    registry = CollectorRegistry()
    metrics = ClusterMetrics(registry, BOTH)
    metrics.registration_repaired(VALIDATING, Repair.WHILE_LEADING)
    expected = {MUTATING: 0, VALIDATING: int(when is Repair.WHILE_LEADING)}
    assert by_kind(registry, "anchore_admission_registration_repairs_total", when=when) == expected


def by_kind(registry: CollectorRegistry, name: str, **labels: str) -> dict[WebhookKind, float]:
    """Return the values of the series with these labels, by the kind of the webhook configuration."""
    samples = [sample for metric in registry.collect() for sample in metric.samples if sample.name == name]
    return {
        WebhookKind(sample.labels["kind"]): sample.value
        for sample in samples
        if labels.items() <= sample.labels.items()
    }
