"""The metrics of the configuration in effect, beside those of the reviews in one registry."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge


class ConfigurationMetrics:
    """The hash, age and state of the configuration, and the namespaces of Anchore that it judges."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._info = Gauge(
            "anchore_admission_configuration_info",
            "Hash of the configuration in effect; replicas with different hashes follow different configurations.",
            ["hash"],
            registry=registry,
        )
        self._loaded = Gauge(
            "anchore_admission_configuration_loaded_timestamp_seconds",
            "Unix time at which the configuration in effect was loaded.",
            registry=registry,
        )
        self._restart_needed = Gauge(
            "anchore_admission_configuration_restart_needed",
            "1 while changed keys of the configuration take effect only after a restart.",
            registry=registry,
        )
        self._anchore_judged = Gauge(
            "anchore_admission_anchore_judged",
            "1 for a reviewed namespace of Anchore, in which its Pods cannot start while Anchore is down.",
            ["namespace"],
            registry=registry,
        )

    def describe(self, fingerprint: str, deadlocked: Sequence[str] = ()) -> None:
        """Report the configuration in effect, and the namespaces in which Anchore needs its own verdict to start."""
        self._info.clear()
        self._info.labels(fingerprint).set(1)
        self._anchore_judged.clear()
        for namespace in deadlocked:
            self._anchore_judged.labels(namespace).set(1)

    def set_loaded(self, at: float, *, needs_restart: bool) -> None:
        """Report when the configuration in effect was loaded (Unix time), and whether a part of it waits."""
        self._loaded.set(at)
        self._restart_needed.set(needs_restart)
