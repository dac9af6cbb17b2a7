"""Questions under way: each is asked once, however many reviews wait for its answer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from anchore_admission.core.freshness import Answer
from anchore_admission.errors import AnchoreBusy, DeadlineExceeded, EvaluationError
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.services.reviews.gate import BACKGROUND, BY_HAND, Gate, Ticket
from anchore_admission.services.reviews.remembered import Key

FLIGHT_SECONDS: Final = 30.0
"""Limit of a question to Anchore; the reviews that wait for it may have less time, but a late answer serves others."""
REFRESHES: Final = 64
"""The most answers that are refreshed at once beside the reviews."""

Outcome = Answer | EvaluationError


@dataclass(slots=True)
class Asker:
    """A review that asks.

    ``stores`` also puts the answers into the shared store, which a dry run must not do. Without ``loads``, the store is
    not asked before Anchore.
    """

    deadline: Deadline
    namespace: str | None
    stores: bool
    loads: bool = True
    was_held_up: bool = False
    """True once other calls of its own namespace have made it wait: an author can bring that about."""


@dataclass(slots=True)
class Flight:
    """A question under way. It ends by itself: reviews that wait for it may give up, and others may join."""

    key: Key
    gate: Gate
    generation: int
    namespaces: dict[str | None, float]
    """The namespaces of the reviews that wait for it, with the latest deadline of each."""
    subject: Hashable = None
    """The image that the question is about."""
    task: asyncio.Task[Outcome] = field(init=False)
    ticket: Ticket | None = None
    waiting: int = 0
    has_begun: bool = False
    asked_at: float = float("inf")
    """When the call to Anchore began."""
    loads: bool = True
    stores: bool = False
    """True if some review that waits for it may change the shared store."""
    is_claimed: bool = False
    """True while we have announced to the other replicas that we ask."""

    def line_up(self, now: float) -> Ticket:
        """Stand in the line of every namespace that waits. Raises AnchoreBusy if none of them has room.

        Raises AnchoreSuspended while the circuit breaker is open.
        """
        for namespace, at in self.namespaces.items():
            with contextlib.suppress(AnchoreBusy):
                if self.ticket is None:
                    self.ticket = self.gate.line_up(namespace, self.key.query, at - now, self.subject)
                else:
                    self.gate.join(self.ticket, namespace, at - now)
        if self.ticket is None:
            raise AnchoreBusy
        return self.ticket


class Flights:
    """All questions under way; ``fly`` asks one, and returns errors instead of raising them."""

    def __init__(self, fly: Callable[[Flight], Awaitable[Outcome]], clock: Clock) -> None:
        self._fly = fly
        self._clock = clock
        self._flights: dict[Key, Flight] = {}
        self._tasks: set[asyncio.Task[Outcome]] = set()
        """Those of the flights, and of flights that have been forgotten."""
        self._refreshes = 0
        self.is_closed = False

    def get(self, key: Key) -> Flight | None:
        """Return the flight of a question."""
        return self._flights.get(key)

    def start(self, flight: Flight) -> None:
        """Ask the question."""
        flight.task = asyncio.create_task(self._flown(flight))
        self._tasks.add(flight.task)
        flight.task.add_done_callback(self._tasks.discard)
        self._flights[flight.key] = flight

    def refresh(self, key: Key, gate: Gate, generation: int, *, stores: bool) -> None:
        """Ask a question beside the reviews, unless it or too many others are under way."""
        if key in self._flights or self._refreshes >= REFRESHES or self.is_closed:
            return
        self._refreshes += 1
        flight = Flight(key, gate, generation, {BACKGROUND: self._clock() + FLIGHT_SECONDS}, stores=stores)
        self.start(flight)
        flight.task.add_done_callback(self._refreshed)

    def join(self, flight: Flight, namespace: str | None, seconds: float) -> None:
        """Wait for the answer, too. A question that stands in line for one namespace then also does for this one.

        Of several reviews of a namespace, the one with the most time decides how long the question may wait: a call of
        the mutating webhook has less than the review of the same image.
        """
        is_new = namespace not in flight.namespaces
        flight.namespaces[namespace] = max(flight.namespaces.get(namespace, 0.0), self._clock() + seconds)
        if is_new and flight.ticket is not None and not flight.has_begun:
            # No room in this namespace's line: its reviews still wait for the other one's question.
            with contextlib.suppress(AnchoreBusy):
                flight.gate.join(flight.ticket, namespace, seconds)

    async def wait(self, flight: Flight, asker: Asker, patience: float) -> Outcome:
        """Wait for the outcome until the asker's deadline, or as long as patience lasts."""
        flight.waiting += 1
        try:
            await asyncio.wait({flight.task}, timeout=min(patience, asker.deadline.left()))
            if flight.ticket is not None and asker.namespace in flight.ticket.held_up - {BY_HAND}:
                asker.was_held_up = True  # so nothing stands in
                await asyncio.wait({flight.task}, timeout=asker.deadline.left())
        finally:
            flight.waiting -= 1
            self._abandon(flight)
        if flight.task.done() and not flight.task.cancelled():
            return flight.task.result()
        return DeadlineExceeded("no response before the deadline")

    def forget(self) -> None:
        """Let no review join the questions that are under way now."""
        self._flights.clear()

    async def aclose(self) -> None:
        """End every question."""
        self.is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _flown(self, flight: Flight) -> Outcome:
        try:
            return await self._fly(flight)
        finally:
            self._ended(flight)

    def _abandon(self, flight: Flight) -> None:
        """End a question that no review waits for, unless it is under way: its answer then serves the next one."""
        if flight.waiting or flight.has_begun or BACKGROUND in flight.namespaces or flight.task.done():
            return
        flight.task.cancel()
        if flight.ticket is not None:
            flight.gate.leave(flight.ticket)
        self._ended(flight)

    def _ended(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def _refreshed(self, _: object) -> None:
        self._refreshes -= 1
