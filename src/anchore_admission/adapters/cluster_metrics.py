"""Prometheus metrics about the cluster; they exist only in processes that use the Kubernetes API."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from anchore_admission.ports.telemetry import Repair


class ClusterMetrics:
    """The ``ClusterRecorder`` of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._errors = Counter(
            "anchore_admission_cluster_errors",
            "Failed calls to the API server, and failed probes of the webhook's own Service.",
            ["operation", "code"],
            registry=registry,
        )
        self._current = Gauge(
            "anchore_admission_registration_current",
            "1 while the webhook configuration is the wanted one; only the leader checks.",
            registry=registry,
        )
        self._repairs = Counter(
            "anchore_admission_registration_repairs",
            "Repairs of the webhook configuration by this replica as the leader.",
            ["when"],
            registry=registry,
        )
        for when in Repair:  # an alert must see the 0 before the 1
            self._repairs.labels(when)
        self._left = Gauge(
            "anchore_admission_registration_left_in_place",
            "Fields set by others in the webhook configuration, such as a cloud's, that are left in place.",
            registry=registry,
        )

    def cluster_error(self, *, operation: str, code: str) -> None:
        self._errors.labels(operation, code).inc()

    def registration_current(self, current: bool) -> None:
        self._current.set(current)

    def registration_repaired(self, when: Repair) -> None:
        self._repairs.labels(when).inc()

    def registration_left_in_place(self, terms: int) -> None:
        self._left.set(terms)

    def watch_leadership(self, leads: Callable[[], bool]) -> None:
        """Evaluate leadership whenever the metrics are read."""
        gauge = Gauge("anchore_admission_leader", "1 while this replica is the leader.", registry=self._registry)
        gauge.set_function(lambda: float(leads()))
