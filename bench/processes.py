"""Start the real programs for the benchmarks, and read their CPU time and memory from the kernel."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "anchore-admission"
_PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of another process, in nanoseconds' precision; /proc counts in ticks of 10 ms.

    The clock's number is computed from the process ID as clock_getcpuclockid(3) does on Linux.
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


@contextlib.contextmanager
def running(*command: str | Path, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*map(str, command)],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_until_ready(url: str, seconds: float = 20.0) -> float:
    """Return the seconds until the address responds with success."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310 - loopback only
            return time.perf_counter() - began
        time.sleep(0.005)
    raise SystemExit(f"{url} did not respond within {seconds:g} seconds")


@contextlib.contextmanager
def controller(
    configuration: dict[str, object], folder: Path, program: Sequence[str | Path] = (PROGRAM,)
) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """Serve over plain HTTP: the process, its port, and the seconds from start to ready."""
    file = folder / f"configuration-{free_port()}.json"
    file.write_text(json.dumps(configuration))
    port, operations = free_port(), free_port()
    flags = ["--host", "127.0.0.1", "--port", str(port), "--operations-port", str(operations), "--insecure-http"]
    secrets = {
        "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin",
        "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "foobar",
    }
    with running(*program, "serve", "--config", file, *flags, environment=secrets) as process:
        ready = wait_until_ready(f"http://127.0.0.1:{operations}/readyz")
        yield process, port, ready


@contextlib.contextmanager
def sandbox(seed: str, folder: Path) -> Iterator[int]:
    file = folder / "seed.yaml"
    file.write_text(seed)
    port = free_port()
    with running(PROGRAM, "sandbox", "--seed", file, "--port", str(port)):
        wait_until_ready(f"http://127.0.0.1:{port}/health")
        yield port
