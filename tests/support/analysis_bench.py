"""The queue of requests for analysis with everything around it faked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from anchore_admission.core.facts import Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnalysisRefused
from anchore_admission.services.reviews.recent import Recent
from anchore_admission.services.reviews.submissions import Schedule, Submissions
from support.fakes import FakeAnchore, FakeRecorder, ManualClock, digest_of, settled

APP = AnalysisRequest("registry.example.com/app:1")
ANSWERED = Submission(SubmissionState.ANSWERED, digest_of(APP.full_tag))
REQUESTED = Submission(SubmissionState.REQUESTED)
DROPPED = Submission(SubmissionState.DROPPED)
NO_PULL = AnalysisRefused("Anchore cannot pull it: registry needs credentials")


def tags(count: int, registry: str = "registry.example.com") -> list[AnalysisRequest]:
    return [AnalysisRequest(f"{registry}/other:{number}") for number in range(count)]


@dataclass
class Bench:
    """A queue with everything around it, its workers not started."""

    schedule: Schedule = field(default_factory=Schedule)
    anchore: FakeAnchore = field(default_factory=FakeAnchore)
    other: FakeAnchore = field(default_factory=FakeAnchore)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    clock: ManualClock = field(default_factory=ManualClock.of_loop)
    recent: Recent = field(default_factory=Recent)

    def __post_init__(self) -> None:
        self.accounts = {"default": self.anchore, "other": self.other}
        self.submissions = Submissions(
            self.accounts,
            self.recorder,
            self.schedule,
            clock=self.clock,
            sleep=self.clock.sleep,
            recent=self.recent,
        )

    def submit(self, request: AnalysisRequest = APP, *, needed: bool = True, account: str = "default") -> Submission:
        return self.submissions.submit(account, request, needed=needed)

    def resolved(self, *requests: AnalysisRequest, account: str = "default") -> str | None:
        """Return the digest that is remembered of a tag under these names."""
        found = self.submissions.resolved(account, [request.full_tag for request in requests or (APP,)])
        return found.digest if found else None

    async def responded(self, request: AnalysisRequest = APP, *, needed: bool = True) -> Submission:
        """Submit, let Anchore respond, and return what is known then."""
        self.submit(request, needed=needed)
        await settled()
        return self.submit(request, needed=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.submissions.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def submitted(self) -> list[str]:
        return self.anchore.subjects("submit")
