"""Bounds what the bodies of all requests hold in memory together; small ones overtake large ones that wait."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Receive, Scope

from anchore_admission.errors import BodyTimeout, Overloaded, ReviewError, ReviewTooLarge
from anchore_admission.web.body import Disconnected, header

SMALL: Final = 64 * 1024
"""Bytes up to which a body is read without waiting for room."""
START: Final = 256 * 1024
"""Bytes that are kept of a body that is not read to its end: they tell who asks about what."""
DRAINED: Final = 256 * 1024 * 1024
"""Bytes that are read and thrown away, so that the client can read the answer before it stops sending."""
KEPT: Final = 4 * 1024 * 1024
"""Bytes that a large review may hold once it is decoded."""
STALLED_SECONDS: Final = 1.0
STALLED_RATE: Final = 256 * 1024
"""A body that has come more slowly (bytes a second) makes room when another waits."""
_LOOK_SECONDS: Final = 0.25
"""Between two looks for bodies that have stalled, while another waits."""
ROOM: Final = 96 * 1024 * 1024
"""Bytes for all bodies where no limit on memory is known."""
LONGEST_QUEUE: Final = 64
NO_ROOM: Final = "the controller holds too many large reviews at the moment; try again"
_DIGITS: Final = 20
_SHARED: Final = 4
"""One in so many bytes is for small bodies, which do not wait."""


@dataclass(slots=True)
class Received:
    """A body. ``missing`` says why only its first part is here; None for a whole body."""

    content: bytes | bytearray
    missing: ReviewError | None = None
    hold: Callable[[int], None] = lambda _: None
    """To be told how many bytes the decoded body takes."""

    def error(self) -> ReviewError:
        """Return what to raise for a body that is not whole.

        A new one each time, never kept: a raised error refers to frames that hold this body, which would stay then.
        """
        return type(self.missing)(str(self.missing)) if self.missing else ReviewError("the body is whole")


class _Reader:
    """One body on its way in, and the bytes that it takes of the common room."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._clock = asyncio.get_running_loop().time
        self._waiting: asyncio.Timeout | None = None
        self._waits_since = 0.0
        self._waited = 0.0
        self.size = 0
        self.share = 0

    async def message(self) -> Message:
        """Raises BodyTimeout when this body had to make room for another, Disconnected."""
        self._waits_since = self._clock()
        try:
            async with asyncio.timeout(None) as self._waiting:
                message = await self._receive()
        except TimeoutError as error:
            raise BodyTimeout("the body came too slowly while others waited; send it again") from error
        finally:
            self._waiting = None
            self._waited += self._clock() - self._waits_since
        if message["type"] == "http.disconnect":
            raise Disconnected
        return message

    def rate(self) -> float:
        return self.size / max(self._seconds(), 0.001)

    def has_stalled(self) -> bool:
        return self._waiting is not None and self._seconds() >= STALLED_SECONDS and self.rate() < STALLED_RATE

    def _seconds(self) -> float:
        """Time in which the client could have sent: not what this side took, waiting for room among it."""
        return self._waited + (self._clock() - self._waits_since if self._waiting else 0.0)

    def is_small(self) -> bool:
        return self._waiting is not None and not self.share

    def give_up(self) -> None:
        if self._waiting:
            self._waiting.reschedule(self._clock())


class _Kept:
    """The bytes of a body, at most so many.

    Where its length is known, memory is taken once: a buffer that grows leaves holes that the system does not get back.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._buffer = bytearray()
        self._filled = 0

    def grow(self, most: int, *, at_once: bool) -> None:
        self.most = most
        if at_once:
            start, self._buffer = self._buffer, bytearray(most)
            self._buffer[: len(start)] = start

    def cut(self, most: int) -> None:
        self.most = min(self.most, most)
        self._filled = min(self._filled, self.most)
        del self._buffer[self.most :]

    def add(self, chunk: bytes) -> None:
        part = chunk[: self.most - self._filled]
        self._buffer[self._filled : self._filled + len(part)] = part
        self._filled += len(part)

    def content(self) -> bytearray:
        del self._buffer[self._filled :]
        return self._buffer


@dataclass(slots=True)
class _Place:
    reader: _Reader
    amount: int
    granted: asyncio.Future[None]


def is_small(message: Message) -> bool:
    """Return whether a request's first message holds its whole body, and no large one."""
    whole = message["type"] == "http.request" and not message.get("more_body", False)
    return whole and len(message.get("body", b"")) <= SMALL


class Bodies:
    """Reads bodies within a common room of ``total`` bytes.

    A body past ``SMALL`` bytes waits for room for all of it, in the order of arrival; bodies that have stalled make
    room for it. Without room in time, only its first part is kept.
    """

    def __init__(self, total: int = ROOM) -> None:
        self._small = total // _SHARED
        self._large = total - self._small
        self._held = 0
        self._readers: dict[_Reader, None] = {}
        self._queue: deque[_Place] = deque()

    @property
    def largest(self) -> int:
        """The largest body that there is room for."""
        return self._large

    @asynccontextmanager
    async def read(
        self, scope: Scope, receive: Receive, first: Message, limit: int, patience: float
    ) -> AsyncIterator[Received]:
        """Read a body of which ``first`` has come; its room is held until the block ends.

        ``limit`` is in bytes, ``patience`` in seconds of waiting for room. Raises Disconnected, BodyTimeout.
        """
        reader = _Reader(receive)
        self._readers[reader] = None
        try:
            self._bound_small_ones(reader)
            received = await self._received(reader, first, _expected(scope), min(limit, self._large), patience)
            self._resize(reader, min(reader.share, KEPT))
            received.hold = lambda amount: self._resize(reader, max(reader.share, amount))
            yield received
        finally:
            del self._readers[reader]
            self._resize(reader, 0)

    @asynccontextmanager
    async def room(self, amount: int, patience: float) -> AsyncIterator[bool]:
        """Hold room for what a small body takes once it is decoded; yields False where there is none in time."""
        reader = _Reader(_nothing)
        try:
            yield await self._has_room(reader, min(amount, self._large), patience)
        finally:
            self._resize(reader, 0)

    async def _received(
        self, reader: _Reader, message: Message, expected: int | None, limit: int, patience: float
    ) -> Received:
        kept = _Kept(min(expected or SMALL, SMALL))
        missing: ReviewError | None = None
        wanted = START if expected and expected > limit else min(expected or limit, limit)
        while True:
            chunk = message.get("body", b"")
            reader.size += len(chunk)
            if reader.size > kept.most and not reader.share and not missing:
                if await self._has_room(reader, wanted, patience):
                    kept.grow(wanted, at_once=expected is not None)
                else:
                    missing = Overloaded(NO_ROOM)
            if reader.size > limit:
                missing = missing or ReviewTooLarge(f"the body is larger than {limit} bytes, the most that is read")
                kept.cut(START)
                self._resize(reader, min(reader.share, START))
            kept.add(chunk)
            if not message.get("more_body", False) or reader.size > limit + DRAINED:
                return Received(kept.content(), missing)
            message = await reader.message()

    async def _has_room(self, reader: _Reader, amount: int, patience: float) -> bool:
        if not self._queue and self._held + amount <= self._large:
            self._resize(reader, amount)
            return True
        if len(self._queue) >= LONGEST_QUEUE:
            return False
        loop = asyncio.get_running_loop()
        place = _Place(reader, amount, loop.create_future())
        self._queue.append(place)
        end = loop.time() + patience
        try:
            while not place.granted.done() and (left := end - loop.time()) > 0:
                self._evict_stalled()
                await asyncio.wait({place.granted}, timeout=min(_LOOK_SECONDS, left))
            return place.granted.done()
        finally:
            if not place.granted.done():
                self._queue.remove(place)
                self._admit()

    def _resize(self, reader: _Reader, share: int) -> None:
        self._held += share - reader.share
        reader.share = share
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._held + self._queue[0].amount <= self._large:
            place = self._queue.popleft()
            self._held += place.amount - place.reader.share
            place.reader.share = place.amount
            place.granted.set_result(None)

    def _evict_stalled(self) -> None:
        """Only those that hold room; the slowest first, until there is enough for the next in the queue."""
        lacking = self._held + self._queue[0].amount - self._large if self._queue else 0
        stalled = [reader for reader in self._readers if reader.share and reader.has_stalled()]
        for reader in sorted(stalled, key=_Reader.rate):
            if lacking <= 0:
                return
            lacking -= reader.share
            reader.give_up()

    def _bound_small_ones(self, newcomer: _Reader) -> None:
        """Bodies of which little has come hold no room of their own; only so many are kept waiting."""
        small = [reader for reader in self._readers if reader.is_small() and reader is not newcomer]
        if len(small) * SMALL >= self._small:
            min(small, key=_Reader.rate).give_up()


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _expected(scope: Scope) -> int | None:
    length = header(scope, b"content-length")
    return int(length[:_DIGITS]) if length.isdigit() else None
