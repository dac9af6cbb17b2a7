"""Facts that are kept assembled while every part of them is fresh."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.freshness import Answer
from anchore_admission.core.question import Question
from anchore_admission.services.reviews.memory import State
from anchore_admission.services.reviews.remembered import size_of

MOST: Final = 10_000
"""The most images whose facts are kept."""


class _Whole(Struct, frozen=True):
    facts: ImageFacts
    state: tuple[State, int]
    until: float
    size: int


class WholeFacts:
    """The assembled facts about images, for at most ``most_bytes`` bytes of answers.

    Assembling them again would take most of the time of a review for which everything is known. The answers that they
    rest on may have been forgotten or replaced in the memory, so that they count here once more.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._whole: dict[Question, _Whole] = {}
        self._bytes = 0

    def get(self, question: Question, state: tuple[State, int], now: float) -> ImageFacts | None:
        """Return the facts if every part of them is still fresh and the state is that of before."""
        whole = self._whole.get(question)
        return whole.facts if whole is not None and now < whole.until and whole.state == state else None

    def keep(
        self,
        question: Question,
        facts: ImageFacts,
        used: Sequence[Answer],
        state: tuple[State, int],
        *,
        until: float,
    ) -> None:
        """Keep facts that rest on the answers ``used``. If there are too many, all others are dropped."""
        known = self._whole.pop(question, None)
        if known is not None:
            self._bytes -= known.size
        size = sum(map(size_of, used))
        if len(self._whole) >= MOST or self._bytes + size > self._most_bytes:
            self._whole.clear()
            self._bytes = 0
        if size <= self._most_bytes:
            self._whole[question] = _Whole(facts, state, until, size)
            self._bytes += size
