"""Start the real programs for the benchmarks, and read their CPU time and memory from the kernel."""

import asyncio
import contextlib
import json
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.load import fetch

PROGRAM = Path(sys.executable).parent / "anchore-admission"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SECRETS = {
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin",
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "foobar",
}
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """A running process that serves; ``ready`` is the seconds from its start until it was ready."""

    pid: int
    port: int
    operations: int
    ready: float


def free_port() -> int:
    """Return a port that nothing listens on, below those that Linux hands out to outgoing connections."""
    while True:
        port = random.choice(range(10_000, 32_768))  # noqa: S311 - no secret
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of another process, in nanoseconds' precision; /proc counts in ticks of 10 ms.

    The clock's number is computed from the process ID as clock_getcpuclockid(3) does on Linux.
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_mb(pid: int) -> float:
    """Return the resident memory in millions of bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6


def open_sockets(pid: int) -> int:
    """Return the number of open sockets of a process."""
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += str(descriptor.readlink()).startswith("socket:")
    return count


@contextlib.asynccontextmanager
async def running(
    *command: str | Path, environment: Mapping[str, str] | None = None, output: Path | None = None
) -> AsyncIterator[int]:
    """Run a program and yield its process ID; its output goes to a file, or nowhere."""
    with (output or Path(os.devnull)).open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *map(str, command), env={**os.environ, **(environment or {})}, stdout=sink, stderr=sink
        )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def wait_until_ready(port: int, path: str, seconds: float = 20.0) -> None:
    """Wait until the address responds with 200."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if (await fetch(port, path))[0] == 200:
                    return
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def controller(
    configuration: Mapping[str, object], *, environment: Mapping[str, str] | None = None, output: Path | None = None
) -> AsyncIterator[Server]:
    """Serve over plain HTTP with an account ``default``, until ready."""
    port, operations = free_port(), free_port()
    flags = ["--host", "127.0.0.1", "--port", str(port), "--operations-port", str(operations), "--insecure-http"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "configuration.json")
        file.write_text(json.dumps(configuration))  # noqa: ASYNC240 - nothing else runs yet
        began = time.perf_counter()
        async with running(
            PROGRAM, "serve", "--config", file, *flags, environment={**_SECRETS, **(environment or {})}, output=output
        ) as pid:
            await wait_until_ready(operations, "/readyz")
            yield Server(pid, port, operations, time.perf_counter() - began)


def strict(anchore: int, **sections: object) -> dict[str, object]:
    """Return a configuration that judges every image strictly, by an Anchore of API v1 on this port."""
    endpoint = {"endpoint": f"http://127.0.0.1:{anchore}", "apiVersion": "v1"}
    return {"anchore": endpoint, "defaults": {"mode": "strict"}, **sections}
