"""A warm review: a Pod of 8 kB and 4 images whose facts are known at once, against uvicorn returning fixed bytes.

Strict mode over an Anchore inside the process (``instant.py``) is the cost of our own code for a review that has a
verdict to find; ``skip`` is the cost of a review that has none. All are measured in turn, in an order that changes from
round to round, so that other work of the machine affects all of them. The ratio is the median of the rounds'.
"""

import asyncio
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from load import drive, pod_review, request
from processes import PROGRAM, controller, cpu_seconds, free_port, running, wait_until_ready

ROUNDS = 9
REQUESTS = 3000
CONNECTIONS = 4
BARE = "bare uvicorn"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Target:
    """A server to measure."""

    name: str
    pid: int
    port: int
    path: str


@dataclass(frozen=True)
class Cost:
    """The CPU microseconds per request, and the requests per second."""

    cpu: float
    rate: float


async def measure(target: Target, body: bytes) -> Cost:
    wires = [request(target.port, target.path, body)] * REQUESTS
    before = cpu_seconds(target.pid)
    load = await drive(target.port, wires, connections=CONNECTIONS)
    return Cost((cpu_seconds(target.pid) - before) / REQUESTS * 1e6, REQUESTS / load.seconds)


def main() -> None:
    body = pod_review([f"registry.example.com/team/app-{n}:1.{n}" for n in range(4)], size=8192)
    instant = (sys.executable, _HERE / "instant.py")
    strict: dict[str, object] = {"anchore": {"endpoint": "http://anchore.invalid"}, "defaults": {"mode": "strict"}}
    with tempfile.TemporaryDirectory() as name:
        folder, bare_port = Path(name), free_port()
        with (
            running(sys.executable, _HERE / "bare.py", str(bare_port)) as bare,
            controller(strict, folder, instant) as (judging, strict_port, _),
            controller({"defaults": {"mode": "skip"}}, folder, (PROGRAM,)) as (skipping, skip_port, _),
        ):
            wait_until_ready(f"http://127.0.0.1:{bare_port}/")
            targets = [
                Target(BARE, bare.pid, bare_port, "/"),
                Target("strict", judging.pid, strict_port, "/validate?timeout=10s"),
                Target("skip", skipping.pid, skip_port, "/validate?timeout=10s"),
            ]
            rounds = []
            for turn in range(ROUNDS + 1):
                order = targets[:: 1 if turn % 2 else -1]
                rounds.append({target.name: asyncio.run(measure(target, body)) for target in order})
    report(rounds[1:], len(body))  # the first round warms up


def report(rounds: list[dict[str, Cost]], size: int) -> None:
    print(f"warm review: {size} bytes, 4 images, facts known at once; {ROUNDS} rounds of {REQUESTS} requests")
    for name in rounds[0]:
        costs = [costs[name] for costs in rounds]
        ratio = statistics.median(costs[name].cpu / costs[BARE].cpu for costs in rounds)
        print(
            f"  {name:14} {statistics.median(cost.cpu for cost in costs):7.1f} us CPU per request"
            f"  {statistics.median(cost.rate for cost in costs):7.0f} requests/s  CPU ratio {ratio:5.2f}"
        )


if __name__ == "__main__":
    main()
