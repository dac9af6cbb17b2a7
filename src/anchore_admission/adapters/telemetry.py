"""What happened, told as Prometheus metrics; a review also by its log line."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics import exposition as openmetrics

from anchore_admission import __version__
from anchore_admission.adapters.review_log import MalformedLog, ReviewOutcome, log_review, outcome_of
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict
from anchore_admission.ports.telemetry import Origin, ReviewRecord

M = TypeVar("M", bound=MetricWrapperBase)

_REVIEW_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30)
"""From a cached verdict to the longest timeout that the API server grants a webhook."""
_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
_OTHER = "other"
_NO_MODE = "none"
_MIXED_MODES = "mixed"


class Followed(StrEnum):
    """What is looked at again while the process runs, and may turn out to be of no use."""

    CERTIFICATE = "certificate"
    AUTHORITIES = "authorities"
    CREDENTIALS = "credentials"
    ANCHORE_CA = "anchore_ca"
    SECRET_PATH = "secret_path"  # noqa: S105 - a label


class _Children(dict[tuple[str, ...], M]):
    """A metric's children by label values; ``labels()`` takes a lock and rebuilds its key on every call."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> M:
        child = self[labels] = self._metric.labels(*labels)
        return child


class Telemetry:
    """The ``Recorder`` of a process. Labels come from closed sets and configured names, never from names users choose.

    A registry of its own: two applications in one process do not count for each other.
    """

    def __init__(self) -> None:
        # A second series for every counter, which nobody here reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._reviews = _Children(
            self._counter("reviews", "Calls that ended.", "outcome", "mode", "operation", "origin")
        )
        self._review_seconds = _Children(
            self._histogram(
                "review_duration_seconds",
                "From the request to its verdict.",
                _REVIEW_BUCKETS,
                "mode",
                "outcome",
                "origin",
            )
        )
        self._image_verdicts = _Children(
            self._counter("image_verdicts", "Verdicts on single images.", "decision", "reason", "mode")
        )
        self._malformed = _Children(self._counter("malformed_reviews", "Calls that could not be read.", "code"))
        self._calls = _Children(
            self._counter("anchore_calls", "Calls to Anchore that ended.", "account", "operation", "outcome")
        )
        self._call_seconds = _Children(
            self._histogram("anchore_call_duration_seconds", "Calls to Anchore.", _CALL_BUCKETS, "account", "operation")
        )
        self._malformed_log = MalformedLog()
        self._closed = _Children(
            self._counter("connections_closed", "Connections closed before their clients closed them.", "reason")
        )
        self._requests = _Children(
            self._counter("analysis_requests", "Requests for analysis that ended.", "account", "outcome")
        )
        self._in_flight = self._gauge("anchore_calls_in_flight", "Calls to Anchore under way.")
        self._queue = self._gauge("analysis_queue_depth", "Requests for analysis that wait to be sent.")
        self._unusable: dict[Followed, list[Callable[[], bool]]] = {what: [] for what in Followed}
        self._tell_unusable()
        self._describe_process()

    def review(self, record: ReviewRecord) -> None:
        verdict = record.verdict
        outcome = outcome_of(verdict)
        mode = _mode_of(verdict)
        operation = record.operation if record.operation in _OPERATIONS else _OTHER
        self._reviews[outcome, mode, operation, record.origin].inc()
        self._review_seconds[mode, outcome, record.origin].observe(record.seconds)
        if verdict.images:
            self._count(verdict.images)
        log_review(record, outcome)

    def _count(self, images: Sequence[ImageVerdict]) -> None:
        """Most often the images of a Pod have all the same verdict: that is one step of one counter."""
        numbers: dict[Counter, int] = {}
        for image in images:
            counter = self._image_verdicts[image.verdict.decision, image.verdict.reason, image.rule.mode]
            numbers[counter] = numbers.get(counter, 0) + 1
        for counter, number in numbers.items():
            counter.inc(number)

    def malformed_review(self, code: str, message: str) -> None:
        self._reviews[ReviewOutcome.MALFORMED, _NO_MODE, _OTHER, Origin.ADMISSION].inc()
        self._malformed[code,].inc()
        self._malformed_log.write(code, message)

    def connection_closed(self, reason: str) -> None:
        """A client owed the rest of its request for too long, did not read its answer, or made room for another."""
        self._closed[reason,].inc()

    def anchore_call(self, *, account: str, operation: str, outcome: str, seconds: float) -> None:
        self._calls[account, operation, outcome].inc()
        self._call_seconds[account, operation].observe(seconds)

    def anchore_in_flight(self, change: int) -> None:
        self._in_flight.inc(change)

    def submission(self, *, account: str, outcome: str) -> None:
        self._requests[account, outcome].inc()

    def queue_depth(self, waiting: int) -> None:
        self._queue.set(waiting)

    @property
    def registry(self) -> CollectorRegistry:
        """For metrics of parts that not every process has."""
        return self._registry

    def watch_readiness(self, is_ready: Callable[[], bool]) -> None:
        """Ask for readiness whenever the metrics are read."""
        self._gauge("ready", "1 while the process may be sent reviews.").set_function(lambda: float(is_ready()))

    def watch_certificate(self, not_after: Callable[[], float]) -> None:
        """Tell the Unix time at which the serving certificate expires; the alert every webhook needs."""
        gauge = self._gauge("certificate_expiry_timestamp_seconds", "When the serving certificate expires.")
        gauge.set_function(not_after)

    def describe_configuration(self, fingerprint: str, deadlocked: Sequence[str] = ()) -> None:
        """Tell which configuration runs, and the namespaces in which Anchore needs a verdict of Anchore to start."""
        about = "The hash of the configuration that runs: replicas that differ run different ones."
        info = Gauge("anchore_admission_configuration_info", about, ["hash"], registry=self._registry)
        info.labels(fingerprint).set(1)
        about = "Namespaces of Anchore that are judged: Pods of Anchore cannot start there while Anchore is down."
        judged = Gauge("anchore_admission_anchore_judged", about, ["namespace"], registry=self._registry)
        for namespace in deadlocked:
            judged.labels(namespace).set(1)

    def watch_unusable(self, what: Followed, is_unusable: Callable[[], bool]) -> None:
        """Ask whenever the metrics are read; one of several of a kind is enough."""
        self._unusable[what].append(is_unusable)

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """All metrics with their media type: OpenMetrics for whoever asks for it, Prometheus text otherwise."""
        if accept and "application/openmetrics-text" in accept:
            text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _tell_unusable(self) -> None:
        """Every label value from the start: an alert must see the 0 before the 1."""
        about = "1 while what was found last cannot be used; what was good before stays in use."
        gauge = Gauge("anchore_admission_unusable", about, ["what"], registry=self._registry)
        for what, watched in self._unusable.items():
            gauge.labels(what).set_function(partial(_any, watched))

    def _describe_process(self) -> None:
        build = Gauge("anchore_admission_build_info", "The version that runs.", ["version"], registry=self._registry)
        build.labels(__version__).set(1)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"anchore_admission_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"anchore_admission_{name}", about, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"anchore_admission_{name}", about, registry=self._registry)


def _any(watched: Sequence[Callable[[], bool]]) -> float:
    return float(any(is_unusable() for is_unusable in watched))


def _mode_of(verdict: ReviewVerdict) -> str:
    """The mode that all images share."""
    if not verdict.images:
        return _NO_MODE
    first = verdict.images[0].rule.mode
    for image in verdict.images:
        if image.rule.mode is not first:
            return _MIXED_MODES
    return first
