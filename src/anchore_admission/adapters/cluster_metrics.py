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
        # Not current before the leader has looked at each of them: the first probe may take seconds.
        self._current_of = dict.fromkeys(kinds, False)
        self._current = Gauge(
            "anchore_admission_registration_current",
            "1 while the webhooks are registered as intended; only the leader checks, followers report 0.",
            registry=registry,
        )
        self._repairs = Counter(
            "anchore_admission_registration_repairs",
            "Repairs of the webhook configurations by this replica while it was the leader.",
            ["when"],
            registry=registry,
        )
        # Prometheus' increase() does not see a counter that appears with its first event.
        for when in Repair:
            self._repairs.labels(when)
        self._left_of: dict[WebhookKind, int] = {}
        self._left = Gauge(
            "anchore_admission_registration_left_in_place",
            "Fields of the webhook configurations that other clients set and the leader keeps; 0 on followers.",
            registry=registry,
        )

    def cluster_error(self, *, operation: str, code: str) -> None:
        self._errors.labels(operation, code).inc()

    def registration_current(self, kind: WebhookKind, current: bool) -> None:
        self._current_of[kind] = current
        self._current.set(all(self._current_of.values()))

    def registration_repaired(self, when: Repair) -> None:
        self._repairs.labels(when).inc()

    def registration_left_in_place(self, kind: WebhookKind, fields: int) -> None:
        self._left_of[kind] = fields
        self._left.set(sum(self._left_of.values()))

    def watch_leadership(self, leads: Callable[[], bool]) -> None:
        """Evaluate leadership whenever the metrics are read."""
        gauge = Gauge("anchore_admission_leader", "1 while this replica is the leader.", registry=self._registry)
        gauge.set_function(lambda: float(leads()))
