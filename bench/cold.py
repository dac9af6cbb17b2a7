"""A cold Pod of 1, 4, 10 and 40 images, an Anchore that takes 50 ms per call, against the floor of two round trips."""

import asyncio
import statistics
from collections.abc import Sequence

from bench.figures import Figure
from bench.load import CONNECTION, drive, exchange, pod_review, request
from bench.processes import controller, strict
from bench.standin import Steady, serving

DELAY = 0.05
GOALS = {1: 1.2, 4: 1.2, 10: 1.2, 40: 2.0}
"""The number of images, and how many times two round trips a review of them may take."""


async def two_round_trips(connection: CONNECTION) -> float:
    """Return the seconds for two calls to Anchore, one after the other on an open connection."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(2):
        await exchange(connection, b"GET /v1/policies HTTP/1.1\r\nHost: anchore\r\n\r\n")
    return loop.time() - began


async def review(port: int, images: Sequence[str]) -> float:
    """Return the seconds for a review of images that are new to the controller."""
    load = await drive([port], [request(pod_review(images))], connections=1)
    assert load.admitted() == 1, load.responses
    return load.latencies[0]


async def measure(*, quick: bool) -> list[Figure]:
    rounds = 5 if quick else 15
    figures: list[Figure] = []
    async with serving(Steady(DELAY).respond) as anchore, controller(strict(anchore)) as ours:
        connection = await asyncio.open_connection("127.0.0.1", anchore)
        await two_round_trips(connection)
        for size, goal in GOALS.items():
            pairs: list[tuple[float, float]] = []
            for turn in range(rounds + 1):
                images = [f"quay.io/bench/app-{size}-{turn}-{n}:1" for n in range(size)]
                pairs.append((await two_round_trips(connection), await review(ours.port, images)))
            ratio = statistics.median(took / floor for floor, took in pairs[1:])
            took = statistics.median(took for _, took in pairs[1:])
            about = f"cold Pod of {size} image{'s' * (size > 1)}"
            figures += [
                Figure(f"cold.{size}", about, ratio, "times two round trips", goal=goal, floor=1),
                Figure(f"cold.{size}.ms", about, took * 1000, "ms", floor=2 * DELAY * 1000, steady=False),
            ]
        connection[1].close()
    return figures
