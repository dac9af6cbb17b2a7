"""Keep background work alive: log each failure and start the work again, until it is cancelled."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

logger = logging.getLogger("anchore_admission.background")

Sleep = Callable[[float], Awaitable[None]]
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""The longest pause before work that keeps failing is started again: a fault must not fill the log."""


@asynccontextmanager
async def supervised(
    name: str, run: Callable[[], Awaitable[None]], sleep: Sleep = asyncio.sleep
) -> AsyncIterator[None]:
    """Run ``run`` beside the block, and again after each failure, until the block ends."""
    task = asyncio.create_task(_forever(name, run, sleep), name=name)
    try:
        yield
    finally:
        task.cancel()
        # Wait until the task has cleaned up: the code after the block closes what it uses.
        with suppress(asyncio.CancelledError):
            await task


async def repeated_in_thread(do: Callable[[], None], every: float, sleep: Sleep = asyncio.sleep) -> None:
    """Call ``do`` in a thread beside the event loop, every ``every`` seconds, until cancelled."""
    while True:
        await sleep(every)
        # Cancelling ends the wait only: the thread finishes ``do``.
        await asyncio.to_thread(do)


async def _forever(name: str, run: Callable[[], Awaitable[None]], sleep: Sleep) -> None:
    clock = asyncio.get_running_loop().time
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = clock()
        try:
            await run()
        except Exception:
            # CancelledError is no Exception: the end of the block passes through.
            logger.exception("%s failed; starting again in %g s", name, pause)
        # A failure after a long run counts as the first one.
        if clock() - began > LONGEST_PAUSE_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
