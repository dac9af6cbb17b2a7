"""Hints reach the memory soon, and at most once a minute for the same answers."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from anchore_admission.core.hints import EVERYTHING, Hint
from anchore_admission.services.reviews.hints import Hints
from support.fakes import ManualClock

A, B = Hint(full_tag="r.example.com/a:1"), Hint(full_tag="r.example.com/b:1")
DIGEST = Hint(digest="sha256:" + "a1" * 32)


@dataclass
class Doubts:
    """A memory that notes what is doubted, and when."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(0.0))
    given: list[tuple[float, str, Hint]] = field(default_factory=list)

    def doubt(self, account: str, *, full_tag: str | None = None, digest: str | None = None) -> None:
        self.given.append((self.clock.now, account, Hint(full_tag, digest)))

    @asynccontextmanager
    async def passing_on(self) -> AsyncIterator[Hints]:
        hints = Hints(self, clock=self.clock, sleep=self.clock.sleep)
        task = asyncio.create_task(hints.run())
        try:
            yield hints
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def doubts() -> Doubts:
    return Doubts()


@pytest.mark.parametrize("hint", [A, DIGEST, EVERYTHING])
async def test_a_hint_is_passed_on_at_once(doubts: Doubts, hint: Hint) -> None:
    async with doubts.passing_on() as hints:
        hints.take("default", hint)
        assert doubts.given == []
        await doubts.clock.advance(0)
        assert doubts.given == [(0.0, "default", hint)]


async def test_other_answers_do_not_wait(doubts: Doubts) -> None:
    async with doubts.passing_on() as hints:
        for account, hint in (("default", A), ("default", B), ("other", A), ("default", DIGEST)):
            hints.take(account, hint)
            await doubts.clock.advance(2)
        assert [(account, hint) for _, account, hint in doubts.given] == [
            ("default", A),
            ("default", B),
            ("other", A),
            ("default", DIGEST),
        ]
        assert doubts.given[-1][0] < 10


async def test_the_same_hint_waits_for_the_rest_of_the_minute_and_is_not_lost(doubts: Doubts) -> None:
    async with doubts.passing_on() as hints:
        for _ in range(100):
            hints.take("default", A)
            await doubts.clock.advance(1)
        await doubts.clock.advance(100)
        times = [at for at, _, _ in doubts.given]
        assert times[0] == 0.0
        assert len(times) == 3
        assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(times))


async def test_everything_waits_for_what_was_doubted_before(doubts: Doubts) -> None:
    async with doubts.passing_on() as hints:
        hints.take("default", A)
        await doubts.clock.advance(10)
        hints.take("default", EVERYTHING)
        await doubts.clock.advance(40)
        assert doubts.given == [(0.0, "default", A)]
        await doubts.clock.advance(15)
        assert [hint for _, _, hint in doubts.given] == [A, EVERYTHING]
        assert doubts.given[1][0] >= 60


async def test_after_everything_each_answer_waits(doubts: Doubts) -> None:
    async with doubts.passing_on() as hints:
        hints.take("default", EVERYTHING)
        await doubts.clock.advance(1)
        hints.take("default", A)
        await doubts.clock.advance(50)
        assert doubts.given == [(0.0, "default", EVERYTHING)]
        await doubts.clock.advance(15)
        assert [hint for _, _, hint in doubts.given] == [EVERYTHING, A]


async def test_a_stream_of_single_hints_cannot_hold_up_one_about_everything(doubts: Doubts) -> None:
    async with doubts.passing_on() as hints:
        for number in range(200):
            hints.take("default", Hint(full_tag=f"r.example.com/a:{number}"))
            if number == 5:
                hints.take("default", EVERYTHING)
            await doubts.clock.advance(1)
        everything = [at for at, _, hint in doubts.given if hint == EVERYTHING]
        assert everything[0] <= 70


async def test_a_flood_becomes_one_hint_about_everything(doubts: Doubts) -> None:
    async with doubts.passing_on() as hints:
        for number in range(10_000):
            hints.take("default", Hint(full_tag=f"r.example.com/a:{number}"))
        hints.take("other", A)
        await doubts.clock.advance(5)
        assert [(account, hint) for _, account, hint in doubts.given] == [("default", EVERYTHING), ("other", A)]


async def test_no_answer_is_doubted_twice_a_minute_whatever_arrives(doubts: Doubts) -> None:
    """A reference check over a mixed stream: for each tag, its own doubts and those about everything."""
    async with doubts.passing_on() as hints:
        for second in range(600):
            hints.take("default", EVERYTHING if second % 37 == 0 else Hint(full_tag=f"r.example.com/a:{second % 5}"))
            await doubts.clock.advance(1)
        assert len(doubts.given) > 10
        for tag in range(5):
            about = {EVERYTHING, Hint(full_tag=f"r.example.com/a:{tag}")}
            times = [at for at, _, hint in doubts.given if hint in about]
            assert len(times) >= 5
            assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(times))
