"""Submissions that wait: a line for each namespace, so that registries that hang delay its own images first."""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from anchore_admission.ports.deadline import Clock
from anchore_admission.services.reviews.recent import Key

QUICK_SECONDS: Final = 5.0
"""Seconds for a submission, in which Anchore contacts the image's registry; usually less than half a second."""
MOST_LINES: Final = 16
"""The most namespaces in whose lines one submission waits; each of them has its turn soon."""
_REGISTRIES: Final = 1000
"""The most registries whose last response is remembered; users of the cluster choose the names."""

Registry = tuple[str, str]
"""An account, and the host of a registry."""


@dataclass(eq=False, slots=True)
class _Ticket:
    """One submission: it waits for a worker, pauses before its next attempt, or holds a worker."""

    key: Key
    registry: Registry
    namespaces: dict[str | None, None] = field(default_factory=dict)
    """The namespaces that want it."""
    pauses: bool = False
    holder: "_Line | None" = None
    """The line whose worker it holds."""
    began: float = 0.0


@dataclass(eq=False, slots=True)
class _Line:
    """The submissions that one namespace wants."""

    namespace: str | None
    tickets: dict[_Ticket, None] = field(default_factory=dict)
    """Those that wait or pause, first come first."""
    waiting: OrderedDict[Registry, dict[_Ticket, None]] = field(default_factory=OrderedDict)
    """Those that wait, by registry; the registry whose turn it is comes first."""
    held: int = 0


class SubmissionTurns:
    """Queued submissions for ``workers`` workers. ``places`` bounds those that wait or pause.

    Namespaces have their turns one after the other, and so have the registries of each. As in ``Gate``, a namespace
    gets a worker only while it holds fewer than are free: registries that hang, however many one namespace names, leave
    workers to the others. A submission that several namespaces want has its turn with the first of them.

    A quarter of the workers, at least one, is the most that one namespace gets for registries that are not known to be
    quick, so that the others it uses go on. If registries of many namespaces hang, they leave one worker to the rest.

    A full queue drops the last submission of the longest line. A flood takes no place from another namespace.
    """

    def __init__(self, workers: int, places: int, clock: Clock) -> None:
        self._workers = workers
        self._places = places
        self._clock = clock
        self._most_doubtful = max(1, workers // 4)
        self._most_slow = max(1, workers - 1)
        self._lines: OrderedDict[str | None, _Line] = OrderedDict()
        """The lines in use; the namespace whose turn it is comes first."""
        self._tickets: dict[Key, _Ticket] = {}
        self._under_way: dict[_Ticket, None] = {}
        self._quick: OrderedDict[Registry, bool] = OrderedDict()
        """True for the registries that were quick the last time, False for those that were not."""
        self._changed = asyncio.Event()
        self._looking = asyncio.Lock()

    def __len__(self) -> int:
        """Return the number of submissions that wait or pause."""
        return len(self._tickets) - len(self._under_way)

    def has_room(self, namespace: str | None) -> bool:
        """Return whether one more submission of a namespace gets a place, be it that of a longer line."""
        if len(self) < self._places:
            return True
        line = self._lines.get(namespace)
        length = 1 + (len(line.tickets) if line else 0)
        return any(len(other.tickets) > length for other in self._lines.values())

    def put(self, key: Key, namespace: str | None) -> list[Key]:
        """Add a submission that a namespace wants. Return those that are dropped for it, or itself."""
        ticket = self._tickets[key] = _Ticket(key, _registry(key), {namespace: None})
        self._stand(ticket, namespace)
        return self._dropped()

    def join(self, key: Key, namespace: str | None) -> bool:
        """Let one more namespace want a submission. Return whether it has no worker yet."""
        ticket = self._tickets[key]
        if namespace not in ticket.namespaces and len(ticket.namespaces) < MOST_LINES:
            ticket.namespaces[namespace] = None
            if ticket.holder is None:
                self._stand(ticket, namespace)
        return ticket.holder is None

    def resume(self, key: Key) -> None:
        """End the pause of a submission: it waits for its next attempt."""
        ticket = self._tickets[key]
        ticket.pauses = False
        for namespace in ticket.namespaces:
            self._stand(ticket, namespace)

    async def get(self) -> Key:
        """Wait for a submission whose turn it is; ``end`` must follow."""
        # One worker at a time looks for a turn: the lines may be long, and every change would wake all free workers.
        async with self._looking:
            while (turn := self._next()) is None:
                self._changed.clear()
                await self._changed.wait()
            return self._begin(*turn)

    def end(self, key: Key, *, pauses: bool) -> None:
        """Give the worker back, and remember whether the registry was quick. ``resume`` ends a pause."""
        ticket = self._tickets[key]
        line, ticket.holder = ticket.holder, None
        if line is None:
            raise ValueError(f"{key} holds no worker")
        line.held -= 1
        del self._under_way[ticket]
        self._quick[ticket.registry] = self._clock() - ticket.began <= QUICK_SECONDS
        self._quick.move_to_end(ticket.registry)
        if len(self._quick) > _REGISTRIES:
            self._quick.popitem(last=False)
        if pauses:
            ticket.pauses = True
            for namespace in ticket.namespaces:
                self._stand(ticket, namespace)
        else:
            del self._tickets[key]
        self._forget_idle(line)
        self._changed.set()

    def _begin(self, line: _Line, ticket: _Ticket) -> Key:
        line.held += 1
        ticket.holder, ticket.began = line, self._clock()
        self._under_way[ticket] = None
        # Back at the end: every other namespace, and every other registry of this one, has its turn first.
        self._lines.move_to_end(line.namespace)
        line.waiting.move_to_end(ticket.registry)
        for namespace in ticket.namespaces:
            self._take_out(ticket, self._lines[namespace])
        return ticket.key

    def _next(self) -> tuple[_Line, _Ticket] | None:
        free = self._workers - len(self._under_way)
        if not free:
            return None
        hanging = self._hanging()
        doubtful: Counter[_Line | None] = Counter()
        slow = 0
        for ticket in self._under_way:
            was_quick = self._was_quick(ticket.registry, hanging)
            doubtful[ticket.holder] += not was_quick
            slow += was_quick is False
        for line in self._lines.values():
            if line.held >= free:
                continue
            takes_doubtful = doubtful[line] < self._most_doubtful
            for registry, tickets in line.waiting.items():
                was_quick = self._was_quick(registry, hanging)
                if was_quick or (takes_doubtful and (was_quick is None or slow < self._most_slow)):
                    return line, next(iter(tickets))
        return None

    def _hanging(self) -> set[Registry]:
        """Return the registries that are being waited for already longer than quick ones take."""
        latest = self._clock() - QUICK_SECONDS
        return {ticket.registry for ticket in self._under_way if ticket.began < latest}

    def _was_quick(self, registry: Registry, hanging: set[Registry]) -> bool | None:
        """Return whether a registry was quick the last time, and has not been slow since; None if it is unknown."""
        return False if registry in hanging else self._quick.get(registry)

    def _dropped(self) -> list[Key]:
        """Shorten the longest line until all have a place, and return what is in no line any more."""
        dropped: list[Key] = []
        while len(self) > self._places:
            longest = max(self._lines.values(), key=lambda line: len(line.tickets))
            ticket = next(reversed(longest.tickets))
            self._take_out(ticket, longest)
            del ticket.namespaces[longest.namespace]
            if not ticket.namespaces:
                del self._tickets[ticket.key]
                dropped.append(ticket.key)
        return dropped

    def _stand(self, ticket: _Ticket, namespace: str | None) -> None:
        line = self._lines.get(namespace)
        if line is None:
            line = self._lines[namespace] = _Line(namespace)
        line.tickets[ticket] = None
        if not ticket.pauses:
            line.waiting.setdefault(ticket.registry, {})[ticket] = None
            self._changed.set()

    def _take_out(self, ticket: _Ticket, line: _Line) -> None:
        del line.tickets[ticket]
        if not ticket.pauses:
            del line.waiting[ticket.registry][ticket]
            if not line.waiting[ticket.registry]:
                del line.waiting[ticket.registry]
        self._forget_idle(line)

    def _forget_idle(self, line: _Line) -> None:
        if not line.tickets and not line.held:
            del self._lines[line.namespace]


def _registry(key: Key) -> Registry:
    account, request = key
    return account, request.full_tag.partition("/")[0]
