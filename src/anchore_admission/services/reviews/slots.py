"""Bound what is under way at once, so that no namespace takes all of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from anchore_admission.errors import HookError, HookNotAsked, HookUnavailable

CROWDED: Final = "too many reviews of this namespace wait for it; try again"


class Slots:
    """A number of slots of which one line, such as a namespace, has at most half.

    ``full`` is the error where all lines together take all of them.
    """

    def __init__(self, total: int, full: Callable[[str], HookError] = HookUnavailable) -> None:
        self._full = full
        self._share = max(1, total // 2)
        self._slots = asyncio.Semaphore(total)
        self._lines: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def taken(self, line: str, seconds: float) -> AsyncIterator[bool]:
        """Take a slot for the block, waiting ``seconds`` for it at most; yield True if the line itself had to wait.

        Raises:
            HookNotAsked: the line's own calls take its share.
            HookError: those of all lines take all slots.
        """
        own, users = self._lines.get(line) or (asyncio.Semaphore(self._share), 0)
        self._lines[line] = own, users + 1
        has_waited = own.locked()
        end = asyncio.get_running_loop().time() + seconds
        try:
            await _acquired(own, end, HookNotAsked(CROWDED))
            try:
                await _acquired(self._slots, end, self._full("too many reviews wait for it"))
                try:
                    yield has_waited
                finally:
                    self._slots.release()
            finally:
                own.release()
        finally:
            own, users = self._lines[line]
            if users > 1:
                self._lines[line] = own, users - 1
            else:
                del self._lines[line]


async def _acquired(slots: asyncio.Semaphore, end: float, late: Exception) -> None:
    try:
        async with asyncio.timeout_at(end):
            await slots.acquire()
    except TimeoutError as error:
        raise late from error
