"""A rollout: 1,000 Pods over 50 images at once, and 300 Pods of one image; what counts are the calls to Anchore."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.figures import Figure
from bench.load import Load, drive, pod_review, request
from bench.processes import controller, strict
from bench.standin import Steady, serving

PODS = 1000
IMAGES = 50
IMAGES_OF_A_POD = 2
CONNECTIONS = 64
DELAY = 0.05

CROWD = 300
CROWD_DELAY = 1.0


def rollout(repository: str) -> list[bytes]:
    """Return the reviews of 1,000 Pods in which every image occurs equally often."""
    images = [f"{repository}-{n}:1.0" for n in range(IMAGES)]
    pairs = [[images[(pod + n * 7) % IMAGES] for n in range(IMAGES_OF_A_POD)] for pod in range(PODS)]
    return [request(pod_review(pair, size=8500)) for pair in pairs]


async def storm(anchore: Steady, reviews: Sequence[bytes], *, replicas: int, **sections: object) -> Load:
    """Send all reviews to new replicas and return their times; every review must be admitted."""
    async with serving(anchore.respond) as port, AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(controller(strict(port, **sections))) for _ in range(replicas)]
        load = await drive([server.port for server in servers], reviews, connections=CONNECTIONS)
    assert load.admitted() == len(reviews), f"{load.admitted()} of {len(reviews)} were admitted"
    return load


async def measure(*, quick: bool) -> list[Figure]:  # noqa: ARG001 - a smaller storm would not be one
    figures: list[Figure] = []
    cases = (
        ("one", "storm on one replica", "quay.io/bench/app", 1, 2),
        ("official", "storm of official Docker Hub images", "bench", 1, 3),
        ("three", "storm on three replicas, no shared store", "quay.io/bench/app", 3, 6),
    )
    for name, about, repository, replicas, goal in cases:
        anchore = Steady(DELAY)
        load = await storm(anchore, rollout(repository), replicas=replicas)
        calls = anchore.verdict_calls() / IMAGES
        figures.append(Figure(f"storm.{name}", about, calls, "calls per distinct image", goal=goal, floor=2))
        figures.append(Figure(f"storm.{name}.seconds", about, load.seconds, "s for 1,000 Pods", steady=False))
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
