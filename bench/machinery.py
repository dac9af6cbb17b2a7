"""The machinery alone: a Pod of 8 kB and 4 images under ``skip``, against uvicorn answering fixed bytes."""

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from load import drive, pod_review, request
from processes import controller, cpu_seconds, free_port, running, wait_until_answers

ROUNDS = 5
REQUESTS = 4000
CONNECTIONS = 4


async def measure(pid: int, port: int, path: str, body: bytes) -> tuple[float, float]:
    """CPU microseconds per request, and requests per second."""
    wires = [request(port, path, body)] * REQUESTS
    before = cpu_seconds(pid)
    load = await drive(port, wires, connections=CONNECTIONS)
    return (cpu_seconds(pid) - before) / REQUESTS * 1e6, REQUESTS / load.seconds


def main() -> None:
    body = pod_review([f"registry.example.com/team/app-{n}:1.{n}" for n in range(4)], size=8192)
    rows: list[tuple[float, float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        bare_port = free_port()
        with (
            running(sys.executable, Path(__file__).with_name("bare.py"), str(bare_port)) as bare,
            controller({"defaults": {"mode": "skip"}}, Path(folder)) as (process, port, _),
        ):
            wait_until_answers(f"http://127.0.0.1:{bare_port}/")
            for _ in range(ROUNDS + 1):
                floor = asyncio.run(measure(bare.pid, bare_port, "/", body))
                ours = asyncio.run(measure(process.pid, port, "/validate?timeout=10s", body))
                rows.append((*floor, *ours))
    rows = rows[1:]
    bare_cpu, bare_rate, our_cpu, our_rate = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(row[2] / row[0] for row in rows)
    print(f"machinery: {len(body)} bytes, 4 images, skip; medians of {ROUNDS} rounds of {REQUESTS} requests")
    print(f"  bare uvicorn   {bare_cpu:7.0f} us CPU per request  {bare_rate:7.0f} requests/s")
    print(f"  controller     {our_cpu:7.0f} us CPU per request  {our_rate:7.0f} requests/s")
    print(f"  CPU ratio      {ratio:7.2f}   (goal: at most 3)")


if __name__ == "__main__":
    main()
