"""Keeps the background work alive: what fails is logged and started again, what is cancelled ends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

logger = logging.getLogger("anchore_admission.background")

RESTART_SECONDS = 1.0


@asynccontextmanager
async def supervised(name: str, run: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run ``run`` beside the block, again after a failure, until the block ends."""
    task = asyncio.create_task(_forever(name, run), name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def repeated(do: Callable[[], None], every: float, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Until cancelled, ``every`` so many seconds."""
    while True:
        await sleep(every)
        do()


async def _forever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await run()
        except Exception:
            logger.exception("%s failed, starting it again", name)
        await asyncio.sleep(RESTART_SECONDS)
