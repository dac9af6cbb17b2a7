"""Send what is wanted of the store in one turn of the event loop with one command."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from anchore_admission.adapters.store.alarm import Alarm

_LARGEST_BATCH: Final = 32
_BATCHES: Final = 4
"""Commands under way at once. While all of them are, further keys gather into larger batches."""

Read = Callable[[Sequence[str]], Awaitable[Sequence[bytes | None] | None]]
Fetched = tuple[bool, bytes | None]
"""True if the store responded in time, and the entry, None if it has none."""
NO_RESPONSE: Final[Fetched] = (False, None)


class Batches:
    """Gathers keys and reads them together; ``read`` returns the entries in order, or None if the store failed."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._waiting: deque[tuple[str, asyncio.Future[Fetched]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def fetch(self, key: str, seconds: float) -> Fetched:
        """Return what the store holds under a key, after so many seconds at most. The caller may give up earlier."""
        loop = asyncio.get_running_loop()
        fetched: asyncio.Future[Fetched] = loop.create_future()
        self._waiting.append((key, fetched))
        if not self._scheduled:
            self._scheduled = True
            # Other tasks that are ready to run add their keys first.
            loop.call_soon(self._flush)
        alarm = Alarm(seconds, partial(_resolve, fetched, NO_RESPONSE))
        try:
            return await fetched
        finally:
            alarm.cancel()

    async def aclose(self) -> None:
        """Cancel the commands under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._under_way) < _BATCHES:
            batch = self._next_batch()
            if batch:
                task = asyncio.create_task(self._run(batch))
                self._under_way.add(task)
                task.add_done_callback(self._ended)

    def _next_batch(self) -> list[tuple[str, asyncio.Future[Fetched]]]:
        """Take keys from the line, without those that no lookup waits for any more."""
        batch: list[tuple[str, asyncio.Future[Fetched]]] = []
        while self._waiting and len(batch) < _LARGEST_BATCH:
            key, fetched = self._waiting.popleft()
            if not fetched.done():
                batch.append((key, fetched))
        return batch

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._flush()

    async def _run(self, batch: Sequence[tuple[str, asyncio.Future[Fetched]]]) -> None:
        # A command is never cancelled: its connection would be lost. It ends by the client's own timeouts.
        entries = await self._read([key for key, _ in batch])
        for (_, fetched), entry in zip(batch, entries or [None] * len(batch), strict=True):
            _resolve(fetched, (entries is not None, entry))


def _resolve(fetched: asyncio.Future[Fetched], result: Fetched) -> None:
    if not fetched.done():
        fetched.set_result(result)
