"""Prometheus metrics about the cluster; they exist only in processes that use the Kubernetes API."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.ports.telemetry import Repair


class ClusterMetrics:
    """The ``ClusterRecorder`` of a process that registers webhook configurations of these kinds."""

    def __init__(self, registry: CollectorRegistry, kinds: Iterable[WebhookKind] = ()) -> None:
        self._registry = registry
        self._errors = Counter(
            "anchore_admission_cluster_errors",
            "Failed calls to the API server, and failed probes of the webhook's own Service.",
            ["operation", "code"],
            registry=registry,
        )
        self._current = Gauge(
            "anchore_admission_registration_current",
            "1 while the webhook is registered as intended; only the leader checks, followers report 0.",
            ["kind"],
            registry=registry,
        )
        self._repairs = Counter(
            "anchore_admission_registration_repairs",
            "Repairs of a webhook configuration by this replica while it was the leader.",
            ["kind", "when"],
            registry=registry,
        )
        self._left = Gauge(
            "anchore_admission_registration_left_in_place",
            "Fields of a webhook configuration that other clients set and the leader keeps; 0 on followers.",
            ["kind"],
            registry=registry,
        )
        for kind in kinds:
            # Not current before the leader has looked at it: the first probe may take seconds.
            self._current.labels(kind).set(0)
            self._left.labels(kind).set(0)
            # Prometheus' increase() does not see a counter that appears with its first event.
            for when in Repair:
                self._repairs.labels(kind, when)

    def cluster_error(self, *, operation: str, code: str) -> None:
        self._errors.labels(operation, code).inc()

    def registration_current(self, kind: WebhookKind, current: bool) -> None:
        self._current.labels(kind).set(current)

    def registration_repaired(self, kind: WebhookKind, when: Repair) -> None:
        self._repairs.labels(kind, when).inc()

    def registration_left_in_place(self, kind: WebhookKind, fields: int) -> None:
        self._left.labels(kind).set(fields)

    def watch_leadership(self, leads: Callable[[], bool]) -> None:
        """Evaluate leadership whenever the metrics are read."""
        gauge = Gauge("anchore_admission_leader", "1 while this replica is the leader.", registry=self._registry)
        gauge.set_function(lambda: float(leads()))
