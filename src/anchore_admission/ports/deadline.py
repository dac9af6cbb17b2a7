"""The one deadline that every call of a review obeys."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from anchore_admission.errors import DeadlineExceeded

Clock = Callable[[], float]
"""Monotonic seconds."""
_LATE = "no response before the deadline"


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment ``at`` by which a response must be ready, and the moment its time ``began``: monotonic seconds."""

    began: float
    at: float
    clock: Clock = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic, *, began: float | None = None) -> "Deadline":
        """Return the deadline ``seconds`` after ``began``, which is now by default."""
        began = clock() if began is None else began
        return cls(began, began + seconds, clock)

    def left(self) -> float:
        """Return the seconds that remain, never negative."""
        return max(0.0, self.at - self.clock())

    def passed(self) -> float:
        """Return the seconds since it began."""
        return self.clock() - self.began

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """Cancel the block when the time is up. Raises DeadlineExceeded."""
        if self.left() <= 0:  # a block that never suspends would not notice
            raise DeadlineExceeded(_LATE)
        timeout = asyncio.timeout(self.left())
        try:
            async with timeout:
                yield
        except TimeoutError as error:
            # A TimeoutError of the block itself, such as a client's own, is not the deadline's.
            if timeout.expired():
                raise DeadlineExceeded(_LATE) from error
            raise
