"""A server in the test's own event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from anchore_admission.web.server import Listener, serve

HOST = "127.0.0.1"
DRAIN_SECONDS = 30.0


async def quick(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Slow:
    """An application whose answer waits until the test lets it go."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.let_go.wait()
        await quick(scope, receive, send)


@dataclass
class Running:
    """A server in the test's own loop."""

    task: asyncio.Task[None]
    ports: Sequence[int]
    stop: asyncio.Event
    stopping: asyncio.Event

    def url(self, number: int = 0, scheme: str = "http", host: str = HOST) -> str:
        return f"{scheme}://{host}:{self.ports[number]}/"

    async def end(self) -> None:
        self.stop.set()
        await self.task


@contextlib.asynccontextmanager
async def running(
    *listeners: Listener, drain_seconds: float = DRAIN_SECONDS, linger_seconds: float = 0.0
) -> AsyncIterator[Running]:
    stop, stopping, settled = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ports: list[int] = []

    def ready(bound: Sequence[int]) -> None:
        ports.extend(bound)
        settled.set()

    task = asyncio.create_task(
        serve(
            listeners,
            on_ready=ready,
            on_stop=stopping.set,
            drain_seconds=drain_seconds,
            linger_seconds=linger_seconds,
            stop=stop,
        )
    )
    task.add_done_callback(lambda _: settled.set())
    await settled.wait()
    if task.done():
        await task
    try:
        yield Running(task, ports, stop, stopping)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
