"""Large objects: the CPU of a warm review of 4 images whose Pod has 10 kB to 1 MB."""

import statistics

from bench.figures import Figure
from bench.load import pod_review
from bench.processes import controller, strict
from bench.standin import Steady, serving
from bench.warm import IMAGES, Target, cost_of

SIZES = {"10 kB": 10_000, "100 kB": 100_000, "1 MB": 1_000_000}


async def measure(*, quick: bool) -> list[Figure]:
    rounds, requests = (3, 50) if quick else (7, 200)
    costs: dict[str, list[float]] = {name: [] for name in SIZES}
    async with serving(Steady().respond) as anchore, controller(strict(anchore)) as server:
        target = Target("strict", server.pid, server.port)
        for turn in range(rounds + 1):
            for name, size in SIZES.items():
                cost = await cost_of(target, pod_review(IMAGES, size=size), requests)
                if turn:  # the first round warms up
                    costs[name].append(cost.cpu)
    smallest, *larger = SIZES
    figures = [
        Figure(f"objects.{name}.cpu", f"warm Pod of {name}", statistics.median(found), "us of CPU", steady=False)
        for name, found in costs.items()
    ]
    for name in larger:
        grown = statistics.median(b / a for a, b in zip(costs[smallest], costs[name], strict=True))
        times = SIZES[name] / SIZES[smallest]
        about = f"CPU of {name} against {smallest}, by size"
        figures.append(Figure(f"objects.{name}", about, grown / times, f"times linear ({times:g} x the size)", goal=1))
    return figures
