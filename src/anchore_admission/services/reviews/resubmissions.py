"""Tags that are looked up again beside the reviews, then submitted: a bounded number, fair to every namespace."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from anchore_admission.core.question import Question

MOST: Final = 64
"""The most tags that are looked up again at once."""


@dataclass(eq=False, slots=True)
class _Resubmission:
    namespaces: dict[str | None, None]
    """The namespaces that want it; the first one has begun it."""
    task: asyncio.Task[None] = field(init=False)


class Resubmissions:
    """Tags under way; ``work`` looks one up and submits it for the namespaces that want it by then.

    A namespace begins one only while it has fewer under way than could still begin, as in ``Gate``. A tag that finds
    no room is looked up by a later review.
    """

    def __init__(self, work: Callable[[Question, Iterable[str | None]], Awaitable[None]]) -> None:
        self._work = work
        self._under_way: dict[Question, _Resubmission] = {}

    def begin(self, question: Question, namespace: str | None) -> None:
        """Look a tag up and submit it, or let a submission that is about to come count for this namespace, too."""
        if (known := self._under_way.get(question)) is not None:
            known.namespaces[namespace] = None
            return
        begun = sum(next(iter(other.namespaces)) == namespace for other in self._under_way.values())
        if begun >= MOST - len(self._under_way):
            return
        resubmission = self._under_way[question] = _Resubmission({namespace: None})
        resubmission.task = asyncio.create_task(self._run(question, resubmission))
        resubmission.task.add_done_callback(lambda _: self._under_way.pop(question, None))

    async def settled(self, question: Question, seconds: float) -> None:
        """Wait at most ``seconds`` until the tag is submitted, if it is under way."""
        if (known := self._under_way.get(question)) is not None:
            await asyncio.wait([known.task], timeout=max(0.0, seconds))

    async def _run(self, question: Question, resubmission: _Resubmission) -> None:
        await self._work(question, resubmission.namespaces)
