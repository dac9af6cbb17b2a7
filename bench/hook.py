"""A decision hook: what asking it adds to a warm review, and the memory that large objects take meanwhile.

OPA is a stand-in that answers at once, so that only the controller's own CPU time counts.
"""

import asyncio
import statistics
from pathlib import Path

from bench.figures import Figure
from bench.load import TIMEOUT, drive, pod_review, request
from bench.processes import controller, resident_mb, strict
from bench.standin import Call, Steady, of, send, serving
from bench.warm import BODY, IMAGES, Target, cost_of

_NO_OBJECTION = of({"result": {"deny": [], "warn": []}, "decision_id": "4ca636c1-55e4-417a-b1d8-4aceb67960d1"}).wire()
_LARGE = 1024 * 1024
_AT_ONCE = 64


async def measure(*, quick: bool) -> list[Figure]:
    rounds, requests = (3, 500) if quick else (9, 2000)
    measured: list[dict[str, float]] = []
    async with (
        serving(Steady().respond) as anchore,
        serving(_respond) as opa,
        controller(strict(anchore)) as plain,
        controller(strict(anchore, opa={"url": f"http://127.0.0.1:{opa}"})) as asking,
    ):
        without, hooked = Target("strict", plain.pid, plain.port), Target("hook", asking.pid, asking.port)
        for turn in range(rounds + 1):
            costs: dict[str, float] = {}
            for target in (without, hooked)[:: 1 if turn % 2 else -1]:
                costs[target.name] = (await cost_of(target, BODY, requests)).cpu
            measured.append(costs)
        before = resident_mb(asking.pid)
        wire = request(pod_review(IMAGES, size=_LARGE), f"/validate?timeout={TIMEOUT}s")
        load = await drive([asking.port], [wire] * (4 * _AT_ONCE), connections=_AT_ONCE)
        assert load.admitted() == 4 * _AT_ONCE, f"{load.admitted()} of {4 * _AT_ONCE} were admitted"
        grown = _peak_mb(asking.pid) - before
    return list(_figures(measured[1:], grown))  # the first round warms up


async def _respond(_call: Call, writer: asyncio.StreamWriter) -> None:
    send(writer, _NO_OBJECTION)


def _figures(rounds: list[dict[str, float]], grown: float) -> list[Figure]:
    added = statistics.median(costs["hook"] - costs["strict"] for costs in rounds)
    times = statistics.median(costs["hook"] / costs["strict"] for costs in rounds)
    return [
        Figure("hook.times", "warm Pod of 4 images, OPA asked", times, "times the CPU without OPA"),
        Figure("hook.cpu", "what asking OPA adds", added, "us of CPU", goal=1000, steady=False),
        Figure("hook.memory", f"{_AT_ONCE} Pods of 1 MiB at once, OPA asked, in addition", grown, "MB", goal=150),
    ]


def _peak_mb(pid: int) -> float:
    """Return the largest resident memory so far, in millions of bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the kernel does not tell the largest resident memory")
