"""An application on a port of the loopback, served as in production."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from anchore_admission.web.server import Listener, serve

HOST = "127.0.0.1"


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    """The port, while the block runs."""
    stop = asyncio.Event()
    bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def ready(ports: Sequence[int]) -> None:
        bound.set_result(ports[0])

    task = asyncio.create_task(serve([Listener(app, HOST, 0)], on_ready=ready, stop=stop))
    try:
        yield await bound
    finally:
        stop.set()
        await task
