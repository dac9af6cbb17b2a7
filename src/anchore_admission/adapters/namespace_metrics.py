"""Prometheus metrics about namespaces; they exist only in processes that read their labels from the API server."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from anchore_admission.ports.namespaces import LiveRead


class NamespaceMetrics:
    """The ``NamespaceRecorder`` of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._errors = Counter(
            "anchore_admission_namespace_errors",
            "Failed calls to the API server about namespaces.",
            ["operation", "code"],
            registry=registry,
        )
        self._known = Gauge("anchore_admission_namespaces", "Namespaces whose labels are known.", registry=registry)
        self._lists = Counter(
            "anchore_admission_namespace_lists",
            "Complete lists of all namespaces: the first, and one for each watch that could not continue.",
            registry=registry,
        )
        self._reads = Counter(
            "anchore_admission_namespace_reads",
            "Reads of single namespaces that were not known.",
            ["outcome"],
            registry=registry,
        )
        for outcome in LiveRead:
            self._reads.labels(outcome)

    def namespace_error(self, *, operation: str, code: str) -> None:
        self._errors.labels(operation, code).inc()

    def namespaces_known(self, count: int) -> None:
        self._known.set(count)

    def namespaces_listed(self) -> None:
        self._lists.inc()

    def namespace_read(self, outcome: LiveRead) -> None:
        self._reads.labels(outcome).inc()

    def watch(self, synced: Callable[[], float], age: Callable[[], float]) -> None:
        """Evaluate the state of the labels whenever the metrics are read."""
        Gauge(
            "anchore_admission_namespaces_synced",
            "1 once all namespaces were listed; not a number while no rule needs their labels.",
            registry=self._registry,
        ).set_function(synced)
        Gauge(
            "anchore_admission_namespaces_age_seconds",
            "Seconds since the labels of namespaces were known to be current; not a number before the first list.",
            registry=self._registry,
        ).set_function(age)
