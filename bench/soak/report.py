"""What a run of the soak test has seen: a summary, and everything that is wrong."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.soak.anchore import FaultyAnchore
from bench.soak.drive import Tally
from bench.soak.model import Model

ENTRIES = 400
"""Answers that are remembered: fewer than the fleet has, so that some are evicted."""
CALLS = 32
"""Calls that a verdict waits for, at once."""
QUEUE = 200
"""Submissions that may wait."""
GROWTH_MB = 20.0
LATE = 0.001
"""The part of the images that may miss their look-up for lack of time only."""
_OTHER_CALLS = 8
"""Calls beside those of verdicts: submissions, and the lists of policies and events."""
_IN_FLIGHT = "anchore_admission_anchore_calls_in_flight"
_QUEUED = "anchore_admission_analysis_queue_depth"
MEMORY = "resident_mb"
_LIMIT_MB = 268.0
"""The chart's memory limit of 256 MiB."""
_BOUNDS: Mapping[str, float] = {
    _IN_FLIGHT: CALLS + _OTHER_CALLS,
    _QUEUED: QUEUE,
    "anchore_admission_memory_answers": ENTRIES,
    MEMORY: _LIMIT_MB,
}
_AT_REST = (_IN_FLIGHT, _QUEUED)


@dataclass
class Watch:
    """The highest values of the metrics that were seen during the run."""

    highest: dict[str, float] = field(default_factory=dict)

    def see(self, name: str, value: float) -> None:
        self.highest[name] = max(value, self.highest.get(name, 0.0))


@dataclass(frozen=True)
class Size:
    """The resident memory of a replica in MB, and its open sockets."""

    memory: float
    sockets: int


@dataclass
class Run:
    """A run that has ended; ``warm``, ``end`` and ``idle`` have an entry for each replica."""

    tally: Tally
    anchore: FaultyAnchore
    model: Model
    watched: Watch
    seconds: float
    connections: int
    cpu: float
    warm: Sequence[Size]
    end: Sequence[Size]
    idle: Sequence[Mapping[str, float]]
    """The metrics at the end, after a while without reviews."""


def report(run: Run) -> Iterator[str]:
    """Summarize a run in lines of text."""
    tally, model, calls = run.tally, run.model, run.anchore.calls
    latencies = sorted(tally.latencies) or [0.0]
    reviews, images = len(latencies), max(1, tally.reasons.total())
    median, slow = latencies[reviews // 2], latencies[reviews * 99 // 100]
    yield f"  {reviews:,} reviews, {reviews / run.seconds:,.0f}/s, {run.cpu / reviews * 1e3:.2f} ms of CPU each"
    yield f"  latency: median {median * 1e3:.1f} ms, 99 % {slow * 1e3:.0f} ms, slowest {latencies[-1]:.2f} s"
    yield f"  reviews: {_counts(tally.outcomes)}"
    yield f"  images: {_counts(tally.reasons)}; {tally.stale:,} by stale answers"
    yield f"  {model.exact / max(1, model.all):.0%} of {model.all:,} verdicts by facts had one right value only"
    yield f"  {model.late:,} images not looked up for lack of time that no fault explains"
    yield f"  calls to Anchore: {calls.total() / images:.3f} per image: {_counts(calls)}"
    yield f"  faults: {_counts(run.anchore.failed)}"
    yield f"  highest: {', '.join(f'{name} {run.watched.highest.get(name, 0):g}' for name in _BOUNDS)}"
    for warm, end in zip(run.warm, run.end, strict=True):
        yield (
            f"  memory: {warm.memory:.1f} MB warm, {end.memory:.1f} MB at the end; "
            f"sockets: {warm.sockets} warm, {end.sockets} at the end"
        )


def run_problems(run: Run) -> Iterator[str]:
    """Yield everything that is wrong."""
    yield from run.tally.objections
    if run.model.late > LATE * run.tally.reasons.total():
        yield f"{run.model.late} images were not looked up for lack of time, although Anchore responded at once"
    for image in sorted(run.anchore.submitted & run.tally.dry - run.tally.wet):
        yield f"{image} was submitted, although only dry runs named it"
    for name, bound in _BOUNDS.items():
        if (highest := run.watched.highest.get(name, 0.0)) > bound:
            yield f"{name} reached {highest:g}, more than {bound:g}"
    yield from _leaks(run)


def _leaks(run: Run) -> Iterator[str]:
    """Yield what has grown since the warm-up, or has not come to rest."""
    for warm, end in zip(run.warm, run.end, strict=True):
        if end.memory > warm.memory + GROWTH_MB:
            yield f"memory grew from {warm.memory:.1f} to {end.memory:.1f} MB"
        if end.sockets > run.connections + CALLS:
            yield f"{end.sockets} sockets are still open"
    for metrics in run.idle:
        for name in _AT_REST:
            if metrics.get(name):
                yield f"{name} is still {metrics[name]:g} after a while without reviews"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())
