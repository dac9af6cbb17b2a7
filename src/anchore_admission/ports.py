"""The seams: what the services need of the world, and the one deadline every call obeys."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation
from anchore_admission.core.submission import AnalysisRequest
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.errors import DeadlineExceeded

Clock = Callable[[], float]
"""Monotonic seconds."""
_LATE = "no answer before the deadline"


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment (monotonic seconds) by which an answer must be ready."""

    at: float
    clock: Clock = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> "Deadline":
        return cls(clock() + seconds, clock)

    def left(self) -> float:
        """Seconds that remain, never negative."""
        return max(0.0, self.at - self.clock())

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """Cancel the block when the time is up. Raises DeadlineExceeded."""
        if self.left() <= 0:  # a block that never suspends would not notice
            raise DeadlineExceeded(_LATE)
        try:
            async with asyncio.timeout(self.left()):
                yield
        except TimeoutError as error:
            raise DeadlineExceeded(_LATE) from error


class Anchore(Protocol):
    """One account of one Anchore. Every call raises an EvaluationError when it cannot tell.

    Contract: ``tests/contract/test_anchore_port.py`` holds every implementation to it.
    """

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        """The newest active record that carries the full tag; None when Anchore surely holds none."""

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:
        """The active record of a platform digest or a manifest list's digest; its own digest may differ."""

    async def check(
        self, digest: str, full_tag: str, policy: str | None, deadline: Deadline
    ) -> PolicyEvaluation | AnalysisState:
        """Evaluate a policy (None: the active one), or say in which state the image is that cannot be evaluated."""

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        """Ask for analysis. The record's digest is what the tag points to now. Raises AnalysisRefused."""


class AnchoreAccounts(Protocol):
    """The accounts of the configuration, by name."""

    def __getitem__(self, account: str, /) -> Anchore: ...


class Origin(StrEnum):
    """Who asks for a review: the API server, or a person by hand (web page, command line)."""

    ADMISSION = "admission"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """One review that ended; ``name`` is the object's, or its ``generateName`` with a star."""

    origin: Origin
    uid: str
    operation: str
    kind: str
    namespace: str
    name: str
    user: str
    dry_run: bool
    verdict: ReviewVerdict
    seconds: float
    """From the request line to the verdict."""


class Recorder(Protocol):
    """Where the adapters and services tell what happened; turned into logs and metrics."""

    def review(self, record: ReviewRecord) -> None:
        """One review ended."""

    def malformed_review(self, code: str, message: str) -> None:
        """A call could not be read; ``code`` is a ReviewError's."""

    def anchore_call(self, *, account: str, operation: str, outcome: str, seconds: float) -> None:
        """One call to Anchore ended; ``outcome`` is ``ok``, ``not_found`` or an error's code."""

    def anchore_in_flight(self, change: int) -> None:
        """A call to Anchore began (1) or ended (-1)."""

    def submission(self, *, account: str, outcome: str) -> None:
        """A request for analysis ended: ``answered``, ``refused``, ``dropped`` or an error's code."""

    def queue_depth(self, waiting: int) -> None:
        """How many requests for analysis wait to be sent."""
