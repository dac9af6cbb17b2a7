"""Reviews in a process that gets no processor time, or no answer, although their authors did nothing unusual."""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from anchore_admission.core.freshness import Lifetimes
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.errors import AnchoreUnavailable, AnchoreUnreachable
from anchore_admission.models.review import AdmissionResponse
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.pinning import PIN_SECONDS
from support.builders import pod, request
from support.fakes import ManualClock, digest_of, settled
from support.hooks import FakeHook
from support.memory import BOOT
from support.review_setup import APP, DEADLINE, REGISTRY, ReviewSetup, defaults
from support.stores import FakeStore

OFFICIAL, SHORT = "nginx:1", "docker.io/nginx:1"
"""An official image of Docker Hub, which has two names, and the one that Anchore holds it by."""
BY_DIGEST = f"{REGISTRY}/app@{digest_of(APP)}"
HANGING = {"silent": ("by_tag", "by_digest", "check"), "no checks": ("check",)}
"""The calls that hang."""
ERRORS = {"failing": AnchoreUnavailable("500"), "unreachable": AnchoreUnreachable("refused")}
STALL = DEADLINE + 1
TURNS = 25
"""Turns of the event loop in which all happens that needs no time."""
LONGEST = 30
STEPS = 50
"""The most steps; further ones only repeat themselves in a review that waits."""
FoundT = TypeVar("FoundT")


class StallingClock(ManualClock):
    """A clock that leaps when it is read for the n-th time from ``arm`` on: the process stood still just before."""

    reads = 0
    _leap_at = 0

    def __call__(self) -> float:
        self.reads += 1
        if self.reads == self._leap_at:
            self.now += STALL
        return self.now

    def arm(self, reads: int) -> None:
        self.reads, self._leap_at = 0, reads

    async def ended(self, running: Awaitable[FoundT]) -> FoundT:
        """Let the time pass until a result is there."""
        task = asyncio.ensure_future(running)
        for _ in range(LONGEST):
            await _settled()
            if task.done():
                return await task
            end = self.now + 1
            while self._sleepers and self._sleepers[0][0] <= end:
                self.now, _, woken = heapq.heappop(self._sleepers)
                woken.set()
                await _settled()
            self.now = max(end, self.now)
        raise AssertionError("it does not end")


async def _settled() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


@dataclass
class SharedStore(FakeStore):
    """A store that answers in a later turn of the event loop; with ``is_busy``, another replica has claimed it all."""

    clock: ManualClock = field(default_factory=ManualClock)
    is_busy: bool = False

    async def claim(self, key: str, deadline: Deadline) -> bool:
        await asyncio.sleep(0)
        return not self.is_busy and await super().claim(key, deadline)

    async def is_claimed(self, key: str, deadline: Deadline) -> bool:
        await asyncio.sleep(0)
        return self.is_busy or await super().is_claimed(key, deadline)


@dataclass(frozen=True)
class World:
    """The surroundings of a review of one image, which fails its policy if it ``fails``.

    ``age`` is that of the answers in memory, in seconds; without it, nothing is known.
    """

    image: str = APP
    mode: str = "strict"
    age: float | None = None
    anchore: str = "silent"
    store: str = ""
    hook: str = ""
    fails: bool = False
    pins: bool = False

    async def setup(self) -> tuple[ReviewSetup, StallingClock]:
        clock = StallingClock.of_loop()
        assert isinstance(clock, StallingClock)
        pin = "bestEffort" if self.pins else "off"
        settings = defaults(self.mode, onError="allow", requestAnalysis=self.pins, pin=pin)
        hook = FakeHook() if self.hook else None
        if hook:
            settings["opa"] = {"url": "unix:///run/opa.sock", "onError": "allow"}
        store = SharedStore(now=clock.now + BOOT, clock=clock) if self.store else None
        setup = ReviewSetup(settings, lifetimes=Lifetimes(), policy_interval=30.0, store=store, hook=hook)
        for tag in (APP, SHORT):
            setup.anchore.store(tag)
            if self.fails:
                setup.fail_policy(tag)
        if self.age is not None:
            await clock.ended(setup.review(pod(self.image)))
            clock.now += self.age
        if store:
            store.now, store.is_busy = clock.now + BOOT, self.store == "busy"
        if hook and self.hook == "silent":
            hook.hanging = asyncio.Event()
        for operation in HANGING.get(self.anchore, ()):
            setup.anchore.hang(operation)
        if error := ERRORS.get(self.anchore):
            setup.anchore.fail_all(error)
        return setup, clock


async def at_every_step(world: World, act: Callable[[ReviewSetup], Awaitable[FoundT]]) -> list[FoundT]:
    """Do something again and again, each time with the process standing still one step later."""
    found: list[FoundT] = []
    while True:
        setup, clock = await world.setup()
        sheds = len(setup.recorder.sheds)
        clock.arm(len(found) + 1)
        found.append(await clock.ended(act(setup)))
        reads = clock.reads
        clock.arm(0)
        await setup.memory.aclose()
        assert setup.recorder.sheds[sheds:] == []
        if reads < len(found) or len(found) == STEPS:
            return found


def assert_calm(caplog: pytest.LogCaptureFixture) -> None:
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


REVIEWED = [
    World(anchore="healthy", mode="analysis"),
    World(anchore="healthy", store="free"),
    World(OFFICIAL, store="busy"),
    World(BY_DIGEST, anchore="failing"),
    World(OFFICIAL, anchore="no checks"),
    World(mode="analysis", store="free"),
    World(anchore="healthy", hook="healthy"),
    World(anchore="healthy", hook="silent"),
    World(age=1),
    World(OFFICIAL, age=45, anchore="unreachable"),
    World(age=200, mode="analysis"),
    World(OFFICIAL, age=200),
    World(OFFICIAL, age=200, anchore="healthy", store="free"),
    World(BY_DIGEST, age=200, anchore="no checks", store="free"),
    World(age=200, anchore="failing", hook="healthy"),
    World(OFFICIAL, age=200, anchore="unreachable", store="free"),
    World(age=200, hook="silent"),
]


@pytest.mark.parametrize("world", REVIEWED, ids=repr)
async def test_a_stall_is_no_fault_of_the_author(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def review(setup: ReviewSetup) -> ReviewVerdict:
        return await setup.review(pod(world.image))

    verdicts = await at_every_step(world, review)
    assert [verdict.message for verdict in verdicts if not verdict.allowed] == []
    if world.age is not None:
        assert [image.facts.error for verdict in verdicts for image in verdict.images] == [None] * len(verdicts)
    assert_calm(caplog)


FAILING = [
    World(APP, age=200, fails=True),
    World(OFFICIAL, age=200, anchore="healthy", store="free", fails=True),
    World(BY_DIGEST, age=200, anchore="unreachable", fails=True),
    World(APP, age=1, hook="silent", fails=True),
]


@pytest.mark.parametrize("world", FAILING, ids=repr)
async def test_a_stall_admits_nothing_that_is_known_to_fail(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def review(setup: ReviewSetup) -> ReviewVerdict:
        return await setup.review(pod(world.image))

    assert [verdict.allowed for verdict in await at_every_step(world, review) if verdict.allowed] == []
    assert_calm(caplog)


@pytest.mark.parametrize("anchore", ["healthy", "silent", "unreachable"])
@pytest.mark.parametrize("age", [None, 200])
async def test_a_stall_fails_no_call_of_the_mutating_webhook(
    age: float | None, anchore: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def mutate(setup: ReviewSetup) -> AdmissionResponse:
        asked = request(pod(OFFICIAL), namespace="shop")
        response = await setup.pinning.mutate(asked, Deadline.after(PIN_SECONDS, setup.clock))
        assert (await setup.review(pod(OFFICIAL))).allowed
        return response

    responses = await at_every_step(World(OFFICIAL, age=age, anchore=anchore, pins=True), mutate)
    assert [response for response in responses if not response.allowed] == []
    assert_calm(caplog)


@pytest.mark.parametrize("concurrency", [1, 2, 4, 32])
@pytest.mark.parametrize("others", [0, 15, 16, 40])
@pytest.mark.parametrize("image", [APP, OFFICIAL])
@pytest.mark.parametrize("age", [None, 200])
async def test_one_image_does_not_hold_up_itself(age: float | None, image: str, others: int, concurrency: int) -> None:
    """The names of an image are looked up at once, and its policy while a look-up may still be under way."""
    settings = defaults("strict", onError="allow", requestAnalysis=False)
    setup = ReviewSetup(settings, lifetimes=Lifetimes(), policy_interval=30.0, concurrency=concurrency)
    setup.anchore.store(APP)
    setup.anchore.store(SHORT)
    if age is not None:
        assert (await setup.review(pod(image))).allowed
        await setup.clock.advance(age)
    setup.anchore.hang("by_tag")
    setup.anchore.hang("check")
    images = [f"redis:{number}" for number in range(others)]
    reviews = asyncio.gather(*(setup.review(pod(each), namespace=f"of-{each[6:]}") for each in images))
    await settled()
    reviewing = asyncio.create_task(setup.review(pod(image)))
    await setup.clock.advance(STALL)

    verdict = await reviewing
    assert verdict.allowed
    assert verdict.images[0].facts.is_stale == (age is not None)
    assert all(other.allowed for other in await reviews)
