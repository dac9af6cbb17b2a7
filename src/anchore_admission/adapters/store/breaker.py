"""Leave a store alone that has failed several times."""

import asyncio
from typing import Final

FAILURES: Final = 3
"""Failures in a row after which the store is suspended."""
SUSPENDED_SECONDS: Final = 5.0
"""Seconds that the store is left alone before one probe shows whether it responds again."""


class StoreBreaker:
    """Closed while the store is used. It opens after several failures in a row, and a probe's success closes it."""

    def __init__(self) -> None:
        self._failures = 0
        self._closed = asyncio.Event()
        self._closed.set()
        self._opened = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def fail(self) -> None:
        """Count a failure."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._closed.clear()
            self._opened.set()

    def succeed(self) -> None:
        """End a series of failures. A late success of a command from before does not close an open breaker."""
        if not self.is_open:
            self._failures = 0

    def close(self) -> None:
        """Use the store again."""
        self._failures = 0
        self._opened.clear()
        self._closed.set()

    async def until_open(self) -> None:
        await self._opened.wait()

    async def until_closed(self) -> None:
        await self._closed.wait()
