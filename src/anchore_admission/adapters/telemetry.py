"""Prometheus metrics of the process; a review is also logged."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from anchore_admission import __version__
from anchore_admission.adapters.configuration_metrics import ConfigurationMetrics
from anchore_admission.adapters.pinning_log import PinningLog
from anchore_admission.adapters.review_log import MalformedLog, ReviewOutcome, log_review, outcome_of
from anchore_admission.core.hook import HOOK_OUTCOMES
from anchore_admission.core.pins import PinResult
from anchore_admission.core.rules.exemptions import Exemption
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.ports.telemetry import (
    BreakerState,
    HintSource,
    NotificationOutcome,
    Origin,
    PinningRecord,
    ReviewRecord,
    StoreClaim,
    StoreOutcome,
    StorePut,
    WatchedSource,
)

_REVIEW_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30)
"""From a warm review to the longest timeout that the API server grants a webhook."""
_PINNING_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5)
"""From facts in memory to the longest time that a call may take, and a little more."""
_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
_OTHER = "other"
_NO_MODE = "none"
_MIXED_MODES = "mixed"


class _Tally(Collector):
    """A counter that each review increases several times, by the values of its labels.

    Only the event loop counts, so it needs none of the locks that a ``Counter`` takes for each label and increment.
    """

    def __init__(self, family: Callable[[], CounterMetricFamily]) -> None:
        self._family = family
        self._counts = defaultdict[tuple[str, ...], int](int)

    def count(self, *labels: str) -> None:
        self._counts[labels] += 1

    def show(self, *labels: str) -> None:
        """Export a count of 0 from now on, so that a rate sees the first increase."""
        self._counts[labels] += 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = self._family()
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        yield family


class _Expiries(Collector):
    """The end of each exemption. A reload may replace them at any time."""

    def __init__(self, exemptions: Callable[[], Iterable[Exemption]]) -> None:
        self._exemptions = exemptions

    def collect(self) -> Iterator[GaugeMetricFamily]:
        about = "Unix time at which an exemption ends, or has ended."
        name = "anchore_admission_exemption_expiry_timestamp_seconds"
        family = GaugeMetricFamily(name, about, labels=["exemption"])
        for exemption in self._exemptions():
            family.add_metric([exemption.name], exemption.expires)
        yield family


class Telemetry:
    """The ``Recorder`` of a process. Labels come from closed sets and configured names, never from names users choose.

    Each instance has its own registry, so that two applications in one process count separately.
    """

    def __init__(self) -> None:
        # The `_created` series would double every counter, and none of our dashboards and alerts reads them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self.configuration = ConfigurationMetrics(self._registry)
        self._reviews = self._tally("reviews", "Finished reviews.", "outcome", "mode", "operation", "origin")
        self._review_seconds = self._histogram(
            "review_duration_seconds",
            "Time from a request to its verdict.",
            _REVIEW_BUCKETS,
            "mode",
            "outcome",
            "origin",
        )
        self._image_verdicts = self._tally("image_verdicts", "Verdicts on single images.", "decision", "reason", "mode")
        self._describe_pins()
        self._exemption_uses = self._tally(
            "exemption_uses", "Denied images that an exemption or break-glass admitted.", "exemption", "kind"
        )
        self._describe_hook()
        self._malformed = self._counter("malformed_reviews", "Requests that could not be read.", "code")
        self._calls = self._counter("anchore_calls", "Finished calls to Anchore.", "account", "operation", "outcome")
        self._call_seconds = self._histogram(
            "anchore_call_duration_seconds", "Duration of calls to Anchore.", _CALL_BUCKETS, "account", "operation"
        )
        self._malformed_log = MalformedLog()
        self._pinning_log = PinningLog()
        self._closed = self._counter(
            "connections_closed", "Connections that the controller closed before the client did.", "reason"
        )
        self._requests = self._counter("analysis_requests", "Finished requests for analysis.", "account", "outcome")
        self._recalled = self._tally(
            "facts",
            "Facts about images, by their use: from memory (fresh, refreshing, stale) or asked.",
            "account",
            "use",
        )
        self._coalesced = self._counter("coalesced_questions", "Questions that were already under way.", "account")
        self._remembered = self._gauge("memory_answers", "Answers of Anchore that are remembered.")
        self._remembered_bytes = self._gauge("memory_bytes", "Memory that the remembered answers take, estimated.")
        self._forgotten = self._counter("memory_evictions", "Answers that were forgotten for lack of room.")
        self._in_flight = self._gauge("anchore_calls_in_flight", "Calls to Anchore in progress.")
        self._breakers = self._gauge(
            "anchore_breaker_state",
            "Circuit breaker: 0 closed, 1 half open, 2 open (Anchore is not called).",
            "account",
        )
        self._shed = self._counter(
            "shed_lookups", "Lookups given up because too many of their namespace waited for Anchore.", "account"
        )
        self._queue = self._gauge("analysis_queue_depth", "Requests for analysis waiting in the queue.")
        self._hints = self._counter("hints", "Hints that remembered answers may be outdated.", "source")
        self._notifications = self._counter("notifications", "Requests to the port for notifications.", "outcome")
        self._event_log_errors = self._counter(
            "event_log_errors", "Failed attempts to read Anchore's event log.", "account"
        )
        self._describe_store()
        self._unusable: dict[WatchedSource, list[Callable[[], bool]]] = {what: [] for what in WatchedSource}
        self._describe_unusable()
        self._describe_process()

    def review(self, record: ReviewRecord) -> None:
        verdict = record.verdict
        outcome = outcome_of(verdict)
        mode = _mode_of(verdict)
        operation = record.operation if record.operation in _OPERATIONS else _OTHER
        self._reviews.count(outcome, mode, operation, record.origin)
        self._review_seconds.labels(mode, outcome, record.origin).observe(record.seconds)
        for image in verdict.images:
            self._image_verdicts.count(image.verdict.decision, image.verdict.reason, image.judged.rule.mode)
            # A dry run and a review by hand admit nothing.
            if image.exemptions and record.origin is Origin.ADMISSION and not record.dry_run:
                for use in image.exemptions:
                    self._exemption_uses.count(use.name, use.kind)
        if verdict.hook:
            self._hook_decisions.count(verdict.hook.outcome)
            self._hook_seconds.observe(verdict.hook.seconds)
        log_review(record, outcome)

    def pinning(self, record: PinningRecord) -> None:
        for pin in record.pins:
            self._images_pinned.count(pin.result)
        self._pinning_seconds.observe(record.seconds)
        self._pinning_log.write(record)

    def malformed_review(self, code: str, message: str) -> None:
        self._reviews.count(ReviewOutcome.MALFORMED, _NO_MODE, _OTHER, Origin.ADMISSION)
        self._malformed.labels(code).inc()
        self._malformed_log.write(code, message)

    def connection_closed(self, reason: str) -> None:
        """Count a closed connection: its client did not send or read in time, or another one needed its place."""
        self._closed.labels(reason).inc()

    def anchore_call(self, *, account: str, operation: str, outcome: str, seconds: float) -> None:
        self._calls.labels(account, operation, outcome).inc()
        self._call_seconds.labels(account, operation).observe(seconds)

    def anchore_in_flight(self, change: int) -> None:
        self._in_flight.inc(change)

    def recalled(self, *, account: str, use: str) -> None:
        self._recalled.count(account, use)

    def coalesced(self, account: str) -> None:
        self._coalesced.labels(account).inc()

    def remembered(self, answers: int, size: int) -> None:
        self._remembered.set(answers)
        self._remembered_bytes.set(size)

    def forgotten(self, answers: int) -> None:
        if answers:
            self._forgotten.inc(answers)

    def breaker(self, *, account: str, state: BreakerState) -> None:
        self._breakers.labels(account).set(state)

    def shed(self, *, account: str) -> None:
        self._shed.labels(account).inc()

    def submission(self, *, account: str, outcome: str) -> None:
        self._requests.labels(account, outcome).inc()

    def queue_depth(self, waiting: int) -> None:
        self._queue.set(waiting)

    def hint(self, source: HintSource) -> None:
        self._hints.labels(source).inc()

    def notification(self, outcome: NotificationOutcome) -> None:
        self._notifications.labels(outcome).inc()

    def event_log_failed(self, account: str) -> None:
        self._event_log_errors.labels(account).inc()

    def store_lookup(self, *, outcome: StoreOutcome, seconds: float) -> None:
        self._store_lookups.labels(outcome).inc()
        if outcome is not StoreOutcome.SUSPENDED:
            self._store_seconds.observe(seconds)

    def store_put(self, outcome: StorePut) -> None:
        self._store_puts.labels(outcome).inc()

    def store_claim(self, outcome: StoreClaim) -> None:
        self._store_claims.labels(outcome).inc()

    @property
    def registry(self) -> CollectorRegistry:
        """The registry, for the metrics of parts that not every process has."""
        return self._registry

    def watch_readiness(self, is_ready: Callable[[], bool]) -> None:
        """Evaluate the readiness whenever the metrics are read."""
        self._gauge("ready", "1 while the replica is ready for reviews.").set_function(lambda: float(is_ready()))

    def watch_certificate(self, not_after: Callable[[], float]) -> None:
        """Report the Unix time at which the serving certificate expires; every webhook needs an alert on it."""
        gauge = self._gauge("certificate_expiry_timestamp_seconds", "Unix time of the serving certificate's expiry.")
        gauge.set_function(not_after)

    def watch_exemptions(self, exemptions: Callable[[], Iterable[Exemption]]) -> None:
        """Report the end of every exemption in use, whenever the metrics are read."""
        self._registry.register(_Expiries(exemptions))

    def watch_unusable(self, what: WatchedSource, is_unusable: Callable[[], bool]) -> None:
        """Evaluate a source whenever the metrics are read; of several of one kind, one invalid source sets the 1."""
        self._unusable[what].append(is_unusable)

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """Return all metrics with their media type: OpenMetrics if the client accepts it, else Prometheus text."""
        if accept and "application/openmetrics-text" in accept:
            text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _describe_pins(self) -> None:
        self._images_pinned = self._tally(
            "images_pinned", "Images that a rule pins, by what became of their tags.", "result"
        )
        for result in PinResult:
            self._images_pinned.show(result)
        self._pinning_seconds = self._histogram(
            "pinning_duration_seconds", "Time from a call of the mutating webhook to its patch.", _PINNING_BUCKETS
        )

    def _describe_hook(self) -> None:
        self._hook_decisions = self._tally(
            "hook_decisions", "Reviews about which a decision hook was asked, by its decision.", "outcome"
        )
        for outcome in HOOK_OUTCOMES:
            self._hook_decisions.show(outcome)
        self._hook_seconds = self._histogram(
            "hook_duration_seconds", "Time that a review waits for a decision hook.", _PINNING_BUCKETS
        )

    def _describe_store(self) -> None:
        self._store_lookups = self._counter("store_lookups", "Lookups in the shared store.", "outcome")
        self._store_seconds = self._histogram(
            "store_lookup_duration_seconds", "Duration of lookups in the shared store.", _STORE_BUCKETS
        )
        self._store_puts = self._counter("store_puts", "Answers for the shared store.", "outcome")
        self._store_claims = self._counter(
            "store_claims", "Questions that one replica asks Anchore for all of them.", "outcome"
        )

    def _describe_unusable(self) -> None:
        """Export every label value from the start, so that an alert sees the change from 0 to 1."""
        about = "1 while the latest version of a file or Secret is invalid; the last valid one stays in use."
        gauge = Gauge("anchore_admission_unusable", about, ["what"], registry=self._registry)
        for what, watched in self._unusable.items():
            gauge.labels(what).set_function(partial(_any, watched))

    def _describe_process(self) -> None:
        build = Gauge("anchore_admission_build_info", "The running version.", ["version"], registry=self._registry)
        build.labels(__version__).set(1)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def _tally(self, name: str, about: str, *labels: str) -> _Tally:
        tally = _Tally(partial(CounterMetricFamily, f"anchore_admission_{name}", about, labels=labels))
        self._registry.register(tally)
        return tally

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"anchore_admission_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"anchore_admission_{name}", about, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"anchore_admission_{name}", about, labels, registry=self._registry)


def _any(watched: Sequence[Callable[[], bool]]) -> float:
    return float(any(is_unusable() for is_unusable in watched))


def _mode_of(verdict: ReviewVerdict) -> str:
    """Return the mode that all images share."""
    modes = {image.judged.rule.mode for image in verdict.images}
    if len(modes) > 1:
        return _MIXED_MODES
    return next(iter(modes), _NO_MODE)
