"""What happened with the cluster, as Prometheus metrics; they exist only where a cluster is used."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from anchore_admission.ports.telemetry import Repair


class ClusterMetrics:
    """The ``ClusterRecorder`` of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._errors = Counter(
            "anchore_admission_cluster_errors",
            "Calls to the Kubernetes API, or to the webhook by itself, that failed.",
            ["operation", "code"],
            registry=registry,
        )
        self._current = Gauge(
            "anchore_admission_registration_current",
            "1 while the webhook is registered as it should be; only the leader looks.",
            registry=registry,
        )
        self._repairs = Counter(
            "anchore_admission_registration_repairs",
            "How often this replica, leading, found the registration missing or changed and put it right.",
            ["when"],
            registry=registry,
        )
        for when in Repair:  # an alert must see the 0 before the 1
            self._repairs.labels(when)
        self._left = Gauge(
            "anchore_admission_registration_left_in_place",
            "Terms of others, such as a cloud's, that the registration holds and that are not taken back.",
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
        """Ask who leads whenever the metrics are read."""
        gauge = Gauge("anchore_admission_leader", "1 while this replica leads.", registry=self._registry)
        gauge.set_function(lambda: float(leads()))
