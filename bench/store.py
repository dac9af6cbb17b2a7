"""A real Redis or Valkey server as the replicas' shared store."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import free_port, running

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


@dataclass
class Store:
    """A server that keeps nothing on disk; ``section`` is the controller's configuration for it."""

    port: int
    section: dict[str, object]
    pid: int = 0

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Run the server in this block."""
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
        async with running(PROGRAM or "redis-server", *options) as self.pid:
            await _connected(self.port)
            try:
                yield
            finally:
                self.thaw()  # a stopped process would not end

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def new_store() -> Iterator[Store]:
    """Return a store that is not up yet, with a seal key of its own."""
    with TemporaryDirectory() as folder:
        Path(folder, "current").write_text(secrets.token_hex(32))
        port = free_port()
        url = f"redis://127.0.0.1:{port}"
        yield Store(port, {"url": url, "clusterName": "bench", "keyDirectory": folder})


async def _connected(port: int, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.01)
