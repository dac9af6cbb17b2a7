"""A rollout: 1,000 Pods over 50 images at once, and 300 Pods of one image; what counts are the calls to Anchore."""

import math
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack

from bench.figures import Figure
from bench.load import drive, pod_review, request
from bench.processes import controller, strict
from bench.standin import Steady, serving
from bench.store import PROGRAM, new_store

PODS = 1000
IMAGES = 50
IMAGES_OF_A_POD = 2
CONNECTIONS = 64
DELAY = 0.05
PACE = 100
"""Pods a second; the controller manager creates 20 by default."""

CROWD = 300
CROWD_DELAY = 1.0


def rollout(repository: str) -> list[bytes]:
    """Return the reviews of 1,000 Pods in which every image occurs equally often."""
    images = [f"{repository}-{n}:1.0" for n in range(IMAGES)]
    pairs = [[images[(pod + n * 7) % IMAGES] for n in range(IMAGES_OF_A_POD)] for pod in range(PODS)]
    return [request(pod_review(pair, size=8500)) for pair in pairs]


async def storm(
    name: str,
    about: str,
    repository: str,
    *,
    goal: float,
    replicas: int = 1,
    rate: float = math.inf,
    sections: Mapping[str, object] | None = None,
) -> list[Figure]:
    """Send a rollout to new replicas; every Pod must be admitted."""
    anchore, reviews = Steady(DELAY), rollout(repository)
    async with serving(anchore.respond) as port, AsyncExitStack() as stack:
        configuration = strict(port, **(sections or {}))
        servers = [await stack.enter_async_context(controller(configuration)) for _ in range(replicas)]
        load = await drive([server.port for server in servers], reviews, connections=CONNECTIONS, rate=rate)
    assert load.admitted() == len(reviews), f"{load.admitted()} of {len(reviews)} were admitted"
    calls = anchore.verdict_calls() / IMAGES
    return [
        Figure(f"storm.{name}", about, calls, "calls per distinct image", goal=goal, floor=2),
        Figure(f"storm.{name}.seconds", about, load.seconds, "s for 1,000 Pods", steady=False),
    ]


async def measure(*, quick: bool) -> list[Figure]:  # noqa: ARG001 - a smaller storm would not be one
    figures = [
        *await storm("one", "storm on one replica", "quay.io/bench/app", goal=2),
        *await storm("official", "storm of official Docker Hub images", "bench", goal=3),
        *await storm("three", "storm on three replicas, no shared store", "quay.io/bench/app", replicas=3, goal=6),
    ]
    if PROGRAM:
        with new_store() as store:
            async with store.up():
                sections = {"sharedStore": store.section}
                for name, about, repository, rate in (
                    ("shared", "storm on three replicas, shared store", "quay.io/bench/app", math.inf),
                    ("paced", f"the same, {PACE} Pods a second", "quay.io/bench/other", PACE),
                ):
                    figures += await storm(name, about, repository, replicas=3, rate=rate, goal=2.5, sections=sections)
    else:
        print("no redis-server or valkey-server here: no storm over a shared store", file=sys.stderr)
    return [*figures, *await crowd()]


async def crowd() -> list[Figure]:
    """Send many Pods of one image at once to an Anchore whose calls take a second."""
    anchore = Steady(CROWD_DELAY)
    reviews = [request(pod_review(["quay.io/bench/app:1.0"], size=8500))] * CROWD
    async with serving(anchore.respond) as port, controller(strict(port)) as server:
        load = await drive([server.port], reviews, connections=CROWD)
    about = "300 Pods of one image, 1 s per call"
    return [
        Figure("crowd.admitted", about, load.admitted(), "admitted", goal=CROWD, more_is_better=True),
        Figure("crowd.calls", about, anchore.verdict_calls(), "calls", goal=8, floor=2),
        Figure("crowd.slowest", about, max(load.latencies), "s, the slowest", floor=2 * CROWD_DELAY, steady=False),
    ]
