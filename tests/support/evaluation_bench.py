"""The gathering of facts, with everything around it faked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.question import question_about
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule
from anchore_admission.models.configuration import Enforcement, ModeName, OnError
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.facts import FactGathering
from support.analysis_bench import Bench

HOUR = 3600.0
DEADLINE = 8.0
"""Seconds that a review has."""


def rule(
    mode: ModeName = ModeName.STRICT,
    *,
    account: str = "default",
    policy: str | None = None,
    request_analysis: bool = True,
) -> Rule:
    return Rule(
        name="production",
        mode=mode,
        account=account,
        policy=policy,
        enforcement=Enforcement.DENY,
        on_error=OnError.DENY,
        request_analysis=request_analysis,
        require_mapping=False,
    )


@dataclass
class EvaluationBench(Bench):
    """An evaluation whose requests for analysis wait in the queue until ``running``."""

    concurrency: int = 32
    passive_wait: float = HOUR
    gathering: FactGathering = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gathering = FactGathering(
            self.accounts, self.submissions, concurrency=self.concurrency, passive_wait=self.passive_wait
        )

    def deadline(self) -> Deadline:
        return Deadline.after(DEADLINE, self.clock)

    async def facts(
        self,
        *images: str,
        by: Rule | None = None,
        side_effects: bool = True,
    ) -> list[ImageFacts]:
        """The facts about each image, in order, all judged by one rule."""
        judged = [JudgedImage(image, (), parse(image), by or rule()) for image in images]
        asked = [question for image in judged if (question := question_about(image))]
        assert len(asked) == len(images), "skip asks nothing"
        found = await self.gathering.facts(asked, self.deadline(), side_effects=side_effects)
        return [found[question] for question in asked]

    async def late_facts(self, *images: str, by: Rule | None = None) -> list[ImageFacts]:
        """What is known when the deadline has passed, and not before."""
        asking = asyncio.create_task(self.facts(*images, by=by))
        await self.clock.advance(DEADLINE - 0.1)
        assert not asking.done()
        await self.clock.advance(0.1)
        assert asking.done()
        return await asking

    @asynccontextmanager
    async def queued(self) -> AsyncIterator[None]:
        """Send what the block asked for."""
        yield
        async with self.running():
            assert await self.submissions.drain(HOUR) == []

    @property
    def operations(self) -> list[str]:
        return [call.operation for call in self.anchore.calls]
