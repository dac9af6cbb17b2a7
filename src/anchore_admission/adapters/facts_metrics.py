"""Prometheus metrics about the port for facts; they exist only in processes that have one."""

from itertools import product

from prometheus_client import CollectorRegistry, Counter

from anchore_admission.ports.telemetry import Engine, FactsOutcome


class FactsMetrics:
    """The ``FactsRecorder`` of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "anchore_admission_facts_requests",
            "Requests to the port for facts.",
            ["engine", "outcome"],
            registry=registry,
        )
        # Prometheus' increase() does not see a counter that appears with its first event.
        for engine, outcome in product(Engine, FactsOutcome):
            self._requests.labels(engine, outcome)

    def facts_request(self, engine: Engine, outcome: FactsOutcome) -> None:
        self._requests.labels(engine, outcome).inc()
