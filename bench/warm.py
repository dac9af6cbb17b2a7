"""A warm review: a Pod of 8.5 kB and 4 images whose facts are remembered, against uvicorn returning fixed bytes.

In strict mode the review has a verdict to find; ``skip`` is the cost of a review that has none. A call of the mutating
webhook answers with the digests of the same images. All are measured in
turn, in an order that changes from round to round, so that other work of the machine affects all of them. The ratio is
the median of the rounds'.

At full speed, the client keeps the floor busy without a pause, while it waits for the controller: the system then has
to wake the client for each response, which counts as the controller's CPU. At the same, slower rate for all, every
server sleeps and is woken for every request, as in a cluster.
"""

import base64
import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure
from bench.load import TIMEOUT, drive, pod_review, request
from bench.processes import controller, cpu_seconds, free_port, running, strict, wait_until_ready
from bench.standin import Steady, serving

IMAGES = [f"registry.example.com/team/app-{n}:1.{n}" for n in range(4)]
BODY = pod_review(IMAGES, size=8500)
CONNECTIONS = 4
_RATE = 1000.0
"""Requests per second that every server can answer."""
_DELAY = 0.001


@dataclass(frozen=True)
class Target:
    """A server to measure."""

    name: str
    pid: int
    port: int
    path: str = "/validate"


@dataclass(frozen=True)
class Cost:
    """The CPU microseconds per request, and the requests per second."""

    cpu: float
    rate: float


async def cost_of(target: Target, body: bytes, requests: int, *, rate: float = math.inf) -> Cost:
    before = cpu_seconds(target.pid)
    wire = request(body, f"{target.path}?timeout={TIMEOUT}s")
    load = await drive([target.port], [wire] * requests, connections=CONNECTIONS, rate=rate)
    return Cost((cpu_seconds(target.pid) - before) / requests * 1e6, requests / load.seconds)


async def measure(*, quick: bool) -> list[Figure]:
    rounds, requests = (3, 500) if quick else (9, 3000)
    anchore, bare_port = Steady(_DELAY), free_port()
    async with (
        serving(anchore.respond) as anchore_port,
        running(sys.executable, Path(__file__).with_name("bare.py"), str(bare_port)) as bare,
        controller(strict(anchore_port)) as judging,
        controller({"defaults": {"mode": "skip"}}) as skipping,
        controller(strict(anchore_port, defaults={"mode": "strict", "pin": "bestEffort"})) as pinning,
    ):
        await wait_until_ready(bare_port, "/")
        targets = [
            Target("bare", bare, bare_port),
            Target("strict", judging.pid, judging.port),
            Target("skip", skipping.pid, skipping.port),
            Target("mutate", pinning.pid, pinning.port, "/mutate"),
        ]
        measured: list[dict[str, Cost]] = []
        paced: list[dict[str, Cost]] = []
        for turn in range(rounds + 1):
            order = targets[:: 1 if turn % 2 else -1]
            measured.append({target.name: await cost_of(target, BODY, requests) for target in order})
            paced.append({target.name: await cost_of(target, BODY, requests // 3, rate=_RATE) for target in order})
        await _expect_digests(pinning.port)
    return list(_figures(measured[1:], paced[1:]))  # the first round warms up


async def _expect_digests(port: int) -> None:
    load = await drive([port], [request(BODY, f"/mutate?timeout={TIMEOUT}s")], connections=1)
    (response,) = load.responses
    patch = base64.b64decode(json.loads(response)["response"]["patch"])
    assert patch.count(b"@sha256:") == len(IMAGES), response


def _figures(rounds: list[dict[str, Cost]], paced: list[dict[str, Cost]]) -> list[Figure]:
    def ratio(name: str, of: list[dict[str, Cost]] = rounds) -> float:
        return statistics.median(costs[name].cpu / costs["bare"].cpu for costs in of)

    cpu = statistics.median(costs["strict"].cpu for costs in rounds)
    rate = statistics.median(costs["strict"].rate for costs in rounds)
    unit = "times the CPU of bare uvicorn"
    return [
        Figure("warm.strict", "warm Pod of 4 images, strict", ratio("strict"), unit, goal=3, floor=1),
        Figure("warm.skip", "the same, skip", ratio("skip"), unit, floor=1),
        Figure("warm.paced", f"strict, all at {_RATE:,.0f} requests/s", ratio("strict", paced), unit, floor=1),
        Figure("warm.mutate", "the digests for the same Pod", ratio("mutate"), unit, floor=1),
        Figure("warm.cpu", "warm Pod of 4 images, strict", cpu, "us of CPU", steady=False),
        Figure(
            "warm.rate",
            "the same, on 4 connections",
            rate,
            "reviews/s",
            steady=False,
            more_is_better=True,
        ),
    ]
