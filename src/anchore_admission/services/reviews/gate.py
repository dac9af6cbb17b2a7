"""The way to one account's Anchore: a bounded number of calls at once, fair to every namespace."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from anchore_admission.errors import AnchoreBusy, DeadlineExceeded, EvaluationError
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.telemetry import BreakerState, Recorder
from anchore_admission.services.reviews.breaker import Breaker

BACKGROUND: Final = None
"""The line of work that no review waits for."""
BY_HAND: Final = ""
"""The line of reviews by hand, whose authors may name any namespace, and of objects without a namespace."""
PLACES = 10_000
"""The most places in all lines together."""
_RECENT = 0.2
"""The weight of the last call in the mean duration."""
_LEFT = "no review waits for this response any more"


class _Line:
    """The calls of one namespace: those that hold a slot, and those that wait, first come first served."""

    __slots__ = ("held", "mean", "namespace", "subjects", "waiting")

    def __init__(self, namespace: str | None) -> None:
        self.namespace = namespace
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()
        self.held = 0
        self.subjects: Counter[Hashable] = Counter()
        """The subjects of all these calls, with the number of each."""
        self.mean = 0.0
        """The recent mean of the seconds that Anchore took for a response; 0 before the first."""

    def calls_about_others(self, subject: Hashable) -> int:
        """Return the number of calls that are not about this subject."""
        return self.held + len(self.waiting) - self.subjects[subject]

    def drop(self, subject: Hashable) -> None:
        """Count one call about a subject less."""
        self.subjects[subject] -= 1
        if not self.subjects[subject]:
            del self.subjects[subject]

    def measure(self, seconds: float) -> None:
        self.mean += (_RECENT if self.mean else 1.0) * (seconds - self.mean)


@dataclass(eq=False, slots=True)
class Ticket:
    """One call to Anchore, which waits in the lines of all namespaces that need its response."""

    query: Hashable
    subject: Hashable
    """The image that the call is about; calls about one image do not hold up each other."""
    ready: asyncio.Future[None]
    """Done when the ticket holds a slot, or will never get one."""
    lines: dict[str | None, _Line] = field(default_factory=dict)
    """The lines it waits in."""
    expected_at: float = float("inf")
    """When it should hold a slot, by the most promising of its lines."""
    slot: _Line | None = None
    """The line whose slot it holds."""
    has_begun: bool = False
    held_up: set[str | None] = field(default_factory=set)
    """The namespaces whose own calls about other images have made it wait."""


class Gate:
    """Let at most ``concurrency`` calls through at once, and none while the circuit breaker is open.

    Each namespace has a line of its own, and free slots go to the lines in turn. A line gets a slot only while it holds
    fewer than are free. So one namespace alone gets half of all slots, two get a third each, and as many as each of
    them holds stay free for the next namespace: calls that hang, in however long a line, delay no other namespace.

    A call is shed at once if it would have to wait longer than its time allows. Only its own line and as many calls of
    each other line as would be served before it count, and only durations of its own namespace: a namespace can fill no
    line but its own. Before the first response, the estimate is optimistic.

    Background work gets slots that no line with a claim waits for, and at most a quarter of all.
    """

    def __init__(
        self, account: str, concurrency: int, recorder: Recorder, clock: Clock, *, places: int = PLACES
    ) -> None:
        self._account = account
        self._concurrency = concurrency
        self._free = concurrency
        self._recorder = recorder
        self._clock = clock
        self._places = places
        self._occupied = 0
        self._background = _Line(BACKGROUND)
        self._most_background = max(1, concurrency // 4)
        self._lines: dict[str | None, _Line] = {BACKGROUND: self._background}
        """The lines that wait or hold a slot."""
        self._turns: OrderedDict[str | None, _Line] = OrderedDict()
        """The lines of namespaces that wait; the next in turn is first."""
        self._breaker = Breaker(clock, report=self._report)

    def line_up(self, namespace: str | None, query: Hashable, seconds_left: float, subject: Hashable = None) -> Ticket:
        """Return a ticket in the line of a namespace (None: background work) for its ``turn``.

        ``subject`` is the image that the query is about; without it, the query is like no other.
        Every ticket must have its turn or be left: a task that is cancelled before its first step has neither.
        Raises AnchoreSuspended while the breaker is open, and AnchoreBusy if the turn would come too late.
        """
        self._breaker.check()
        subject = query if subject is None else subject
        ticket = Ticket(query, subject, asyncio.get_running_loop().create_future())
        self._stand(ticket, namespace, seconds_left)
        return ticket

    def join(self, ticket: Ticket, namespace: str | None, seconds_left: float) -> None:
        """Let a ticket that still waits stand in one more line. Raises AnchoreBusy if its turn would come too late."""
        if not ticket.ready.done() and namespace not in ticket.lines:
            self._stand(ticket, namespace, seconds_left)

    def leave(self, ticket: Ticket) -> None:
        """Give up a ticket that no review needs any more, unless its call has begun."""
        if not ticket.has_begun:
            _refuse(ticket, DeadlineExceeded(_LEFT))
            self._release(ticket)

    @property
    def is_in_doubt(self) -> bool:
        """True if a failure of our own calls would open the circuit breaker."""
        return self._breaker.is_in_doubt

    def confirm(self, error: EvaluationError) -> None:
        """Report that Anchore could not be asked by a call of our own, which no author of a workload has caused."""
        self._breaker.confirm(error)

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[None]:
        """Wait for a slot, and hold it during the block, which calls Anchore once. Bound both by a deadline.

        Raises AnchoreSuspended if the breaker has opened, AnchoreBusy if the ticket was shed to make room, and
        DeadlineExceeded after ``leave``.
        """
        try:
            await ticket.ready
            line = ticket.slot
            if line is None:
                raise DeadlineExceeded(_LEFT)
            with self._breaker.call(ticket.query, line.namespace):
                ticket.has_begun = True
                began = self._clock()
                yield
                # Only responses count: the time of a failure does not tell how long others wait for theirs.
                line.measure(self._clock() - began)
        finally:
            self._release(ticket)

    def _stand(self, ticket: Ticket, namespace: str | None, seconds_left: float) -> None:
        line = self._lines.get(namespace) or _Line(namespace)
        if line.calls_about_others(ticket.subject):
            ticket.held_up.add(namespace)
        self._take_place(ticket, line, seconds_left)
        self._serve()
        if ticket.slot:
            ticket.held_up.discard(namespace)

    def _take_place(self, ticket: Ticket, line: _Line, seconds_left: float) -> None:
        namespace = line.namespace
        now = self._clock()
        expected_at = min(ticket.expected_at, now + self._expected_wait(line))
        # No time may be left before the call begins: a busy processor is not the namespace's doing.
        if expected_at - now > max(0.0, seconds_left):
            raise self._shed()
        ticket.expected_at = expected_at
        ticket.lines[namespace] = line
        line.waiting[ticket] = None
        line.subjects[ticket.subject] += 1
        self._occupied += 1
        self._lines[namespace] = line
        if line is not self._background:
            self._turns[namespace] = line
        if self._occupied > self._places:
            self._make_room(ticket, line)

    def _expected_wait(self, line: _Line) -> float:
        """Estimate the seconds until one more ticket of a line holds a slot."""
        if not line.mean or (not line.waiting and line.held < self._free):
            return 0.0
        place = len(line.waiting) + 1
        # Its own line counts twice, because as many slots as it holds stay free.
        ahead = place + sum(min(len(other.waiting), place) for other in self._turns.values())
        return ahead * line.mean / self._concurrency

    def _make_room(self, newcomer: Ticket, line: _Line) -> None:
        """Shed the last ticket of background work, or else of the longest line.

        Raises AnchoreBusy if that is the newcomer. Among lines of the same length, its own counts as the longest.
        """
        longest = self._background
        if not longest.waiting:
            longest = max(self._turns.values(), key=lambda it: (len(it.waiting), it is line))
        last = next(reversed(longest.waiting))
        self._take_out(last, longest)
        if last is newcomer:
            raise self._shed()
        if not last.lines:
            _refuse(last, self._shed())

    def _shed(self) -> AnchoreBusy:
        self._recorder.shed(account=self._account)
        return AnchoreBusy()

    def _serve(self) -> None:
        """Give the free slots to the lines that have a claim to them, in turn."""
        while self._free and (line := self._next()):
            ticket = next(iter(line.waiting))
            line.held += 1
            line.subjects[ticket.subject] += 1
            self._free -= 1
            ticket.slot = line
            self._leave_lines(ticket)
            if line.waiting and line is not self._background:
                self._turns.move_to_end(line.namespace)
            if ticket.ready.done():  # cancelled a moment ago; its task has not run since
                self._give_back(ticket)
            else:
                ticket.ready.set_result(None)

    def _next(self) -> _Line | None:
        """Return the next line with a claim to a slot. Looks at no more lines than hold slots, and one."""
        for line in self._turns.values():
            if line.held < self._free:
                return line
        background = self._background
        has_claim = background.held < min(self._most_background, self._free)
        return background if background.waiting and has_claim else None

    def _release(self, ticket: Ticket) -> None:
        self._leave_lines(ticket)
        self._give_back(ticket)
        self._serve()

    def _leave_lines(self, ticket: Ticket) -> None:
        for line in [*ticket.lines.values()]:
            self._take_out(ticket, line)

    def _take_out(self, ticket: Ticket, line: _Line) -> None:
        del ticket.lines[line.namespace]
        del line.waiting[ticket]
        line.drop(ticket.subject)
        self._occupied -= 1
        if not line.waiting:
            self._turns.pop(line.namespace, None)
            self._forget_idle(line)

    def _give_back(self, ticket: Ticket) -> None:
        line = ticket.slot
        if line is not None:
            ticket.slot = None
            line.held -= 1
            line.drop(ticket.subject)
            self._free += 1
            self._forget_idle(line)

    def _forget_idle(self, line: _Line) -> None:
        if not line.waiting and not line.held and line is not self._background:
            del self._lines[line.namespace]

    def _report(self, state: BreakerState) -> None:
        """Record the breaker's state. When it opens, fail the calls that wait, too."""
        self._recorder.breaker(account=self._account, state=state)
        if state is BreakerState.OPEN:
            for line in [*self._lines.values()]:
                for ticket in [*line.waiting]:
                    self._leave_lines(ticket)
                    _refuse(ticket, self._breaker.suspended())


def _refuse(ticket: Ticket, error: EvaluationError) -> None:
    """End the wait of a ticket with an error."""
    if not ticket.ready.done():
        ticket.ready.set_exception(error)
        ticket.ready.exception()  # marks it as seen: asyncio would log an error of a ticket whose turn never comes
