"""Stop calling an Anchore that does not respond, and notice when it responds again."""

import random
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from anchore_admission.errors import (
    AnchoreSuspended,
    AnchoreUnavailable,
    AnchoreUnreachable,
    DeadlineExceeded,
    EvaluationError,
)
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.telemetry import BreakerState

FAILURES = 5
"""Consecutive failures that open the breaker."""
OF_ONE_NAMESPACE = 2
"""Failures of one namespace that count if the query itself may be the cause."""
FIRST_PAUSE = 2.0
"""Seconds without a call after the breaker opens; doubled each time up to the longest, with jitter."""
LONGEST_PAUSE = 30.0
JITTER = (0.8, 1.2)
PROBE_SECONDS = 2.0
"""Seconds that a probe has for itself; then the next call becomes a probe, too."""


class Breaker:
    """The circuit breaker of one account. No author of a workload can open it or keep it open.

    - *Nothing was sent* (``AnchoreUnreachable``: refused, DNS, TLS, connect timeout): no query can be the cause, so any
      five in a row open the breaker.
    - *A query failed* (another ``AnchoreUnavailable``: 5xx, 429, reset, read timeout): an image may be the cause, such
      as a tag on which Anchore stumbles or a check that takes too long, and an author can name many of them. Five
      different queries must fail in a row, and of one namespace at most two count: three namespaces have to agree, or
      a call of our own that no author influences (the list of policies) has to ``confirm`` it by failing, too.
    - *Anchore responded*, be it with 401, 404 or an invalid body: closes the breaker.
    - *Nothing was learned* (cancelled, the deadline passed, an error of our own): changes nothing.

    After the pause one call, the probe, is let through. If no connection is made, the next pause begins. If the query
    fails, all calls are let through, because an author may have chosen this query to hold the breaker open; the pause
    stays doubled in case they fail, too. For the same reason a probe that hangs does not hold up the others for more
    than two seconds.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        report: Callable[[BreakerState], None],
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._report = report
        self._jitter = jitter
        self._state = BreakerState.CLOSED
        self._openings = 0
        self._until = 0.0
        self._pause = FIRST_PAUSE
        self._unreachable = 0
        self._failed: dict[Hashable, str] = {}
        """The failed queries that count, with their namespaces."""
        self._doubts: set[Hashable] = set()
        """Failed queries of any namespaces, no more than are needed."""
        self._since = 0.0
        """The first failure after the last response."""
        self._cause = ""
        report(self._state)

    @property
    def state(self) -> BreakerState:
        return self._state

    @property
    def is_in_doubt(self) -> bool:
        """True if ``confirm`` would open it."""
        return self._state is BreakerState.CLOSED and len(self._doubts) >= FAILURES

    def confirm(self, error: EvaluationError) -> None:
        """Open it if a call of our own fails, too, after five different queries in a row."""
        if self.is_in_doubt:
            self._cause = str(error)
            self._open()

    def check(self) -> None:
        """Raise AnchoreSuspended if a call would be refused now."""
        if self._state is not BreakerState.CLOSED and self._clock() < self._until:
            raise self.suspended()

    def suspended(self) -> AnchoreSuspended:
        """Return the error for a call that is refused now."""
        now = self._clock()
        return AnchoreSuspended(
            f"Anchore has been unavailable for {_seconds(now - self._since)} ({self._cause}); "
            f"it is called again in about {_seconds(self._until - now)}"
        )

    @contextmanager
    def call(self, query: Hashable, namespace: str | None) -> Iterator[None]:
        """Learn from the exception that leaves the block; background work has no namespace. Raises AnchoreSuspended."""
        self.check()
        if self._state is not BreakerState.CLOSED:
            self._until = self._clock() + PROBE_SECONDS
            self._become(BreakerState.HALF_OPEN)
        openings = self._openings
        try:
            yield
        except AnchoreUnavailable as error:
            # A call from before the breaker opened brings no news.
            if openings == self._openings:
                self._note(error, query, namespace)
            raise
        except BaseException as error:
            if isinstance(error, EvaluationError) and not isinstance(error, DeadlineExceeded):
                self._close()
            elif openings == self._openings and self._state is BreakerState.HALF_OPEN:
                self._until = self._clock()  # the next call is the probe
            raise
        self._close()

    def _note(self, error: AnchoreUnavailable, query: Hashable, namespace: str | None) -> None:
        if not self._cause:
            self._since = self._clock()
        self._cause = str(error)
        is_probe = self._state is BreakerState.HALF_OPEN
        if isinstance(error, AnchoreUnreachable):
            self._unreachable += 1
            if is_probe or self._unreachable >= FAILURES:
                self._open()
            return
        if len(self._doubts) < FAILURES:
            self._doubts.add(query)
        if namespace is not None and [*self._failed.values()].count(namespace) < OF_ONE_NAMESPACE:
            self._failed.setdefault(query, namespace)
        if len(self._failed) >= FAILURES:
            self._open()
        elif is_probe:
            self._become(BreakerState.CLOSED)

    def _open(self) -> None:
        self._openings += 1
        self._until = self._clock() + self._pause * self._jitter(*JITTER)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._unreachable = 0
        self._failed.clear()
        self._doubts.clear()
        self._become(BreakerState.OPEN)

    def _close(self) -> None:
        self._pause = FIRST_PAUSE
        self._unreachable = 0
        self._failed.clear()
        self._doubts.clear()
        self._cause = ""
        self._become(BreakerState.CLOSED)

    def _become(self, state: BreakerState) -> None:
        if state is not self._state:
            self._state = state
            self._report(state)


def _seconds(seconds: float) -> str:
    whole = max(1, round(seconds))
    return "1 second" if whole == 1 else f"{whole} seconds"
