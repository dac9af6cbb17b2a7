"""Pins in random worlds: two replicas, one Anchore, a registry whose tags move, and policies that change their mind."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from anchore_admission.core.facts import AnalysisState, Finding, PolicyEvaluation
from anchore_admission.core.freshness import Lifetimes
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.pinning import PIN_SECONDS
from support.builders import pod, request
from support.fakes import ACTIVE_POLICY, FakeAnchore, ManualClock, digest_of, settled
from support.review_setup import REGISTRY, ReviewSetup, defaults

TAG = f"{REGISTRY}/app:1"
IMAGES = 4
STEPS = 60
REFRESH = 600.0
"""Seconds for which it counts where a tag pointed to, and after which it must be asked again."""
MEMORY = 120.0
"""Seconds for which a pass may be used, its refresh included."""
FAILED = PolicyEvaluation(False, ACTIVE_POLICY, findings=(Finding("dockerfile", "instruction", "x", "no HEALTHCHECK"),))
PASSED = PolicyEvaluation(True, ACTIVE_POLICY)


def child(number: int) -> str:
    return digest_of(f"child-{number}")


def listed(number: int) -> str:
    """The digest of an image's manifest list; the last image has none."""
    return child(number) if number == IMAGES - 1 else digest_of(f"list-{number}")


@dataclass
class World:
    """The truth, with its history: which image the tag named, and which images the policy passed."""

    seed: int
    pointed: list[tuple[float, int]] = field(default_factory=list)
    passing: list[tuple[float, frozenset[int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - to be repeated
        self.clock = ManualClock.of_loop()
        self.anchore = FakeAnchore()
        settings = defaults("strict", pin="required", onError="allow")
        self.replicas = [
            ReviewSetup(
                settings=settings,
                anchore=self.anchore,
                clock=self.clock,
                lifetimes=Lifetimes(),
                policy_interval=30.0,
            )
            for _ in range(2)
        ]
        for number in range(IMAGES):
            self.anchore.store(f"{REGISTRY}/app:seen-{number}", digest=child(number), parent_digest=listed(number))
        self.good = frozenset(range(IMAGES))
        self.passing.append((float("-inf"), self.good))
        self.move()

    def move(self) -> None:
        """Let the registry's tag name another image, without a word to Anchore."""
        number = self.random.randrange(IMAGES)
        self.pointed.append((self.clock(), number))
        self.anchore.registry[TAG] = child(number)

    def judge_anew(self) -> None:
        """Let the policy pass another set of images."""
        self.good = frozenset(number for number in range(IMAGES) if self.random.random() < 0.7)
        self.passing.append((self.clock(), self.good))
        for number in range(IMAGES):
            self.anchore.evaluate(child(number), PASSED if number in self.good else FAILED)

    async def step(self) -> None:
        """Let something happen to the tag, the policy or Anchore."""
        match self.random.randrange(8):
            case 0 | 1:
                self.move()
            case 2:
                self.judge_anew()
            case 3:  # a pipeline adds the tag to Anchore
                self.anchore.store(
                    TAG,
                    AnalysisState.ANALYZED,
                    digest=self.anchore.registry[TAG],
                    parent_digest=listed(self.pointed[-1][1]),
                    detected_at=f"2026-03-01T00:00:{len(self.pointed) % 60:02}Z",
                )
            case 4:
                self.anchore.fail_all(AnchoreUnavailable("down"))
                await self.clock.advance(self.random.choice([1, 40, 700]))
                await self.create()
                self.anchore.recover()
            case _:
                await self.clock.advance(self.random.choice([0, 1, 5, 29, 31, 61, 130, 601, 1300]))

    async def create(self) -> bool:
        """Create a Pod as an API server does, each webhook at any replica. Return whether its tag was pinned."""
        first, second = (self.random.choice(self.replicas) for _ in range(2))
        mutating = asyncio.create_task(first.pinning.mutate(request(pod(TAG)), Deadline.after(PIN_SECONDS, self.clock)))
        await self.clock.advance(PIN_SECONDS)
        response = await mutating
        assert response.allowed
        unpinned = asyncio.create_task(second.review(pod(TAG)))
        await self.clock.advance(10)
        assert not (await unpinned).allowed, "a tag where a digest is required"
        if not response.patch:
            return False
        (replacement,) = response.patch
        digest = replacement.value.removeprefix(f"{TAG}@")
        numbers = [number for number in range(IMAGES) if listed(number) == digest]
        assert len(numbers) == 1, "the digest of no image, or of one platform"
        self.expect_fresh(numbers[0])
        reviewing = asyncio.create_task(second.review(pod(replacement.value)))
        await self.clock.advance(10)
        verdict = await reviewing
        if verdict.allowed and not any("could not be checked" in text for text in verdict.warnings):
            assert self.passed_lately(numbers[0], 20 + MEMORY) or "stale" in verdict.audit_annotations
        return True

    def expect_fresh(self, number: int) -> None:
        """Assert that the tag named the image within the interval, and the policy passed it not long ago."""
        now = self.clock()
        ends = [*(at for at, _ in self.pointed[1:]), now]
        named = max(end for (_, each), end in zip(self.pointed, ends, strict=True) if each == number)
        assert now - named <= REFRESH + 2 * PIN_SECONDS + 10, "the tag has named another image for too long"
        assert self.passed_lately(number, REFRESH + 20), "an image that failed"

    def passed_lately(self, number: int, seconds: float) -> bool:
        """Return whether the policy passed the image at a time within these seconds."""
        now = self.clock()
        ends = [*(at for at, _ in self.passing[1:]), now]
        return any(number in good and end >= now - seconds for (_, good), end in zip(self.passing, ends, strict=True))


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_pinned_was_the_tags_image_and_was_judged(seed: int) -> None:
    world = World(seed)
    pinned = 0
    async with world.replicas[0].running(), world.replicas[1].running():
        for _ in range(STEPS):
            await world.step()
            pinned += await world.create()
            await settled()

    assert pinned, "a world in which nothing is ever pinned"
