"""The machinery alone: a Pod of 8 kB and 4 images under ``skip``, against uvicorn answering fixed bytes.

Both are measured in turn, and who is first changes from round to round, so that whatever else the machine does falls
on both. The smallest CPU time is what disturbs least; the ratio is the median of the rounds'.
"""

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from load import drive, pod_review, request
from processes import controller, cpu_seconds, free_port, running, wait_until_answers

ROUNDS = 9
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
            for turn in range(ROUNDS + 1):
                targets = [(bare.pid, bare_port, "/"), (process.pid, port, "/validate?timeout=10s")]
                order = targets[:: 1 if turn % 2 else -1]
                found = {pid: asyncio.run(measure(pid, at, path, body)) for pid, at, path in order}
                rows.append((*found[bare.pid], *found[process.pid]))
    report(rows[1:], len(body))  # the first round warms up


def report(rows: list[tuple[float, float, float, float]], size: int) -> None:
    bare_cpu, bare_rate, our_cpu, our_rate = zip(*rows, strict=True)
    ratio = statistics.median(row[2] / row[0] for row in rows)
    print(f"machinery: {size} bytes, 4 images, skip; {ROUNDS} rounds of {REQUESTS} requests")
    for name, cpu, rate in (("bare uvicorn", bare_cpu, bare_rate), ("controller", our_cpu, our_rate)):
        print(
            f"  {name:14} {statistics.median(cpu):7.1f} us CPU per request (least {min(cpu):.1f})"
            f"  {statistics.median(rate):7.0f} requests/s"
        )
    print(f"  CPU ratio      {ratio:7.2f}   (goal: at most 3)")


if __name__ == "__main__":
    main()
