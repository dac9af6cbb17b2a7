"""Bound the memory of all request bodies together; small ones overtake large ones that wait."""

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
"""Bytes that are kept of a body that finds no room: enough to name the user and the object."""
DRAINED: Final = 256 * 1024 * 1024
"""The most bytes that are read and dropped, so that a client that is still sending sees the response, not a reset."""
KEPT: Final = 4 * 1024 * 1024
"""Bytes that a large review may hold once it is decoded."""
STALLED_SECONDS: Final = 1.0
STALLED_RATE: Final = 256 * 1024
"""Bytes per second. A slower body makes room when another waits."""
_LOOK_SECONDS: Final = 0.25
"""The time between two checks for stalled bodies, while another waits."""
ROOM: Final = 96 * 1024 * 1024
"""Bytes for all bodies if the memory has no known limit."""
LONGEST_QUEUE: Final = 64
NO_ROOM: Final = "the controller holds too many large reviews at the moment; try again"
_DIGITS: Final = 20
_SHARED: Final = 4
"""The reciprocal of the share for small bodies, which do not wait."""


@dataclass(slots=True)
class Received:
    """A body. ``missing`` explains why only its first part is held; None for a whole body."""

    content: bytes | bytearray
    missing: ReviewError | None = None
    hold: Callable[[int], None] = lambda _: None
    """Called with the number of bytes that the decoded body takes."""

    def error(self) -> ReviewError:
        """Return a new error for a body that is not whole.

        A raised error refers to frames that hold this body, so a kept one would keep the body, too.
        """
        return type(self.missing)(str(self.missing)) if self.missing else ReviewError("the body is whole")


class _Reader:
    """One incoming body, and its share of the common memory."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._clock = asyncio.get_running_loop().time
        self._waiting: asyncio.Timeout | None = None
        self._waits_since = 0.0
        self._waited = 0.0
        self._gave_up = False
        self.size = 0
        self.share = 0

    async def message(self) -> Message:
        """Receive a part. Raises Disconnected, or BodyTimeout if this body had to make room for another."""
        self._waits_since = self._clock()
        self._gave_up = False
        try:
            # No limit until ``give_up`` sets one, if another body needs the memory.
            async with asyncio.timeout(None) as self._waiting:
                message = await self._receive()
        except TimeoutError as error:
            raise BodyTimeout(
                "the body arrived too slowly while other requests waited for memory; send it again"
            ) from error
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
        """Return how long this side has waited for the client; waiting for room does not count."""
        return self._waited + (self._clock() - self._waits_since if self._waiting else 0.0)

    def is_small(self) -> bool:
        return self._waiting is not None and not self.share and not self._gave_up

    def give_up(self) -> None:
        """End the wait for the client, once: several others may need the memory before this body's task runs again."""
        if self._waiting and not self._gave_up:
            self._gave_up = True
            self._waiting.reschedule(self._clock())


class _Kept:
    """The bytes of a body, up to a bound.

    If its length is known, memory is allocated once: a growing buffer leaves holes that are not returned to the system.
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
    """Return True if the first message of a request holds its whole body, and a small one."""
    whole = message["type"] == "http.request" and not message.get("more_body", False)
    return whole and len(message.get("body", b"")) <= SMALL


class Bodies:
    """Reads bodies within a common limit of ``total`` bytes.

    A body of more than ``SMALL`` bytes waits until there is room for all of it, in the order of arrival; stalled bodies
    make room for it. Without room in time, only its first part is kept.
    """

    def __init__(self, total: int = ROOM) -> None:
        self._small = total // _SHARED
        self._large = total - self._small
        self._held = 0
        self._readers: dict[_Reader, None] = {}
        self._queue: deque[_Place] = deque()

    @property
    def largest(self) -> int:
        """The largest body that fits."""
        return self._large

    @asynccontextmanager
    async def read(
        self, scope: Scope, receive: Receive, first: Message, limit: int, wait_seconds: float
    ) -> AsyncIterator[Received]:
        """Read a body that begins with the message ``first``; its room is held until the block ends.

        ``limit`` is in bytes, ``wait_seconds`` the time to wait for room. Raises Disconnected, BodyTimeout.
        """
        reader = _Reader(receive)
        self._readers[reader] = None
        try:
            self._bound_small_ones(reader)
            received = await self._received(reader, first, _expected(scope), min(limit, self._large), wait_seconds)
            self._resize(reader, min(reader.share, KEPT))
            received.hold = lambda amount: self._resize(reader, max(reader.share, amount))
            yield received
        finally:
            del self._readers[reader]
            self._resize(reader, 0)

    @asynccontextmanager
    async def room(self, amount: int, wait_seconds: float) -> AsyncIterator[bool]:
        """Hold room for a small body that is large once decoded; yield False if there is none in time."""
        reader = _Reader(_nothing)
        try:
            yield await self._has_room(reader, min(amount, self._large), wait_seconds)
        finally:
            self._resize(reader, 0)

    async def _received(
        self, reader: _Reader, message: Message, expected: int | None, limit: int, wait_seconds: float
    ) -> Received:
        kept = _Kept(min(expected or SMALL, SMALL))
        missing: ReviewError | None = None
        # A body that is too large needs room for its first part only.
        wanted = START if expected and expected > limit else min(expected or limit, limit)
        while True:
            chunk = message.get("body", b"")
            reader.size += len(chunk)
            # Only after the first bytes have arrived: a header alone must not reserve memory.
            if reader.size > kept.most and not reader.share and not missing:
                if await self._has_room(reader, wanted, wait_seconds):
                    kept.grow(wanted, at_once=expected is not None)
                else:
                    missing = Overloaded(NO_ROOM)
            if reader.size > limit:
                missing = missing or ReviewTooLarge(f"the body is larger than the limit of {limit} bytes")
                kept.cut(START)
                self._resize(reader, min(reader.share, START))
            kept.add(chunk)
            if not message.get("more_body", False) or reader.size > limit + DRAINED:
                return Received(kept.content(), missing)
            message = await reader.message()

    async def _has_room(self, reader: _Reader, amount: int, wait_seconds: float) -> bool:
        # Never past the queue: a large body would wait forever behind a stream of smaller ones.
        if not self._queue and self._held + amount <= self._large:
            self._resize(reader, amount)
            return True
        if len(self._queue) >= LONGEST_QUEUE:
            return False
        loop = asyncio.get_running_loop()
        place = _Place(reader, amount, loop.create_future())
        self._queue.append(place)
        end = loop.time() + wait_seconds
        try:
            while not place.granted.done() and (left := end - loop.time()) > 0:
                self._evict_stalled()
                # ``wait`` leaves the future pending when its time is over; ``wait_for`` would cancel it.
                await asyncio.wait({place.granted}, timeout=min(_LOOK_SECONDS, left))
            return place.granted.done()
        finally:
            if not place.granted.done():
                # The next in the queue may fit where this one did not.
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
        """Stop stalled bodies that hold room, the slowest first, until the next in the queue fits."""
        lacking = self._held + self._queue[0].amount - self._large if self._queue else 0
        stalled = [reader for reader in self._readers if reader.share and reader.has_stalled()]
        for reader in sorted(stalled, key=_Reader.rate):
            if lacking <= 0:
                return
            lacking -= reader.share
            reader.give_up()

    def _bound_small_ones(self, newcomer: _Reader) -> None:
        """Bound the number of bodies that have sent little and hold no room; drop the slowest one of too many."""
        small = [reader for reader in self._readers if reader.is_small() and reader is not newcomer]
        if len(small) * SMALL >= self._small:
            min(small, key=_Reader.rate).give_up()


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _expected(scope: Scope) -> int | None:
    length = header(scope, b"content-length")
    # A header may hold thousands of digits; Python refuses to convert more than 4300.
    return int(length[:_DIGITS]) if length.isdigit() else None
