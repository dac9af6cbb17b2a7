"""Resident memory when idle, after reviews and with many images remembered, and the time from start to ready."""

import asyncio
import statistics

from bench.figures import Figure
from bench.load import drive, pod_review, request
from bench.processes import Server, controller, resident_mb, strict
from bench.standin import Steady, serving
from bench.warm import BODY

IMAGES_OF_A_POD = 10
CONNECTIONS = 8
SETTLE_SECONDS = 1.0


async def measure(*, quick: bool) -> list[Figure]:
    starts, reviews, images = (2, 500, 1000) if quick else (5, 5000, 10_000)
    ready: list[float] = []
    idle: list[float] = []
    async with serving(Steady().respond) as anchore:
        for _ in range(starts):
            async with controller(strict(anchore)) as server:
                ready.append(server.ready)
                await asyncio.sleep(SETTLE_SECONDS)
                idle.append(resident_mb(server.pid))
        async with controller(strict(anchore)) as server:
            await drive([server.port], [request(BODY)] * reviews, connections=CONNECTIONS)
            busy = resident_mb(server.pid)
            await _remember(server, images)
            full = resident_mb(server.pid)
    return [
        Figure("start", "from start to ready", statistics.median(ready), "s", goal=1.5),
        Figure("memory.idle", "resident memory, idle", statistics.median(idle), "MB", goal=90),
        Figure("memory.busy", f"after {reviews:,} warm reviews", busy, "MB", goal=90),
        Figure("memory.full", f"{images:,} images remembered, in addition", full - busy, "MB", goal=30),
    ]


async def _remember(server: Server, images: int) -> None:
    names = [f"quay.io/bench/app-{n}:1.0" for n in range(images)]
    reviews = [request(pod_review(names[n : n + IMAGES_OF_A_POD])) for n in range(0, images, IMAGES_OF_A_POD)]
    load = await drive([server.port], reviews, connections=CONNECTIONS)
    assert load.admitted() == len(reviews), f"{load.admitted()} of {len(reviews)} were admitted"
