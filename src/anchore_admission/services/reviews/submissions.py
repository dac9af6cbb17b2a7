"""Submit images to Anchore for analysis, off the path of reviews: one queue owns every submission."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from anchore_admission.core.facts import ResolvedTag, Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.core.tags import LastSubmission, Repeats
from anchore_admission.errors import AnalysisRefused, AnchoreRefused, EvaluationError
from anchore_admission.ports.anchore import AnchoreAccounts
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.telemetry import Recorder
from anchore_admission.services.reviews.recent import Entry, Key, Recent
from anchore_admission.services.reviews.submission_turns import SubmissionTurns

logger = logging.getLogger("anchore_admission.submissions")

ATTEMPTS = 4
FIRST_RETRY = 2.0
"""Seconds before a submission that failed in an outage is retried; doubled each time, with jitter."""
# Anchore contacts the image's registry before it responds, by default without a timeout of its own.
ATTEMPT_SECONDS = 30.0
_NAMED = 50
"""The most images that a log line names."""
_FINAL = (AnalysisRefused, AnchoreRefused)
"""Errors that a retry does not overcome: Anchore's own refusal, or that of the image's registry."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The bounds of the queue, and the seconds after which a tag is refreshed."""

    # Each submission holds one of Anchore's request threads while the registry is slow.
    concurrency: int = 3
    queue_size: int = 1000
    refresh_interval: float = 600.0


class Submissions:
    """A bounded, deduplicating queue: one submission in flight per image, ``concurrency`` in all.

    Submit with ``needed`` when a verdict waits for the analysis (an unknown or failed image: repeated with growing
    back-off), without it to learn where a tag points (once per refresh interval). ``core.tags`` decides what is due.
    """

    def __init__(
        self,
        accounts: AnchoreAccounts,
        recorder: Recorder,
        schedule: Schedule,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        recent: Recent | None = None,
    ) -> None:
        self._accounts = accounts
        self._recorder = recorder
        self._schedule = schedule
        self._repeats = Repeats(schedule.refresh_interval)
        self._clock = clock
        self._sleep = sleep
        self._recent = Recent() if recent is None else recent
        self._turns = SubmissionTurns(schedule.concurrency, schedule.queue_size, clock)
        self._retries: dict[Key, asyncio.Task[None]] = {}
        self._generation = 0
        self._closed = False
        self.revision = 0
        """Counts the changes of what ``last`` and ``resolved`` return."""

    def submit(
        self,
        account: str,
        request: AnalysisRequest,
        namespace: str | None,
        *,
        needed: bool,
        looked_up: str | None = None,
    ) -> Submission:
        """Queue a submission for a namespace if one is due, and return the latest. Never waits.

        ``looked_up`` is the digest that Anchore holds for the tag, empty for none, None where nothing was looked up.
        """
        key = (account, request)
        known = self._recent.use(key)
        entry = known or Entry()
        due_at = self._repeats.due_at(entry.last, needed=needed, looked_up=looked_up)
        if self.joined(account, request, namespace) or entry.active or self._clock() < due_at:
            return entry.last.submission
        if not self.has_room(namespace):
            self._recorder.submission(account=account, outcome=SubmissionState.DROPPED)
            return known.last.submission if known else Submission(SubmissionState.DROPPED)
        entry.last = self._repeats.begun(entry.last, self._clock(), needed=needed)
        entry.looked_up = looked_up
        entry.attempts = 0
        entry.active = True
        self._recent.keep(key, entry)
        self.revision += 1
        entry.begin()
        for dropped in self._turns.put(key, namespace):
            self._drop(dropped)
        self._record_depth()
        return entry.last.submission

    def joined(self, account: str, request: AnalysisRequest, namespace: str | None) -> bool:
        """Let a submission that waits count for one more namespace. Return whether there is one."""
        entry = self._recent.use((account, request))
        return entry is not None and entry.active and self._turns.join((account, request), namespace)

    def last(self, account: str, request: AnalysisRequest, *, needed: bool, looked_up: str) -> tuple[Submission, float]:
        """Return the latest submission of an image, and when ``submit`` would queue another one."""
        entry = self._recent.use((account, request)) or Entry()
        if entry.active:
            return entry.last.submission, float("inf")
        return entry.last.submission, self._repeats.due_at(entry.last, needed=needed, looked_up=looked_up)

    async def submit_and_wait(
        self, account: str, request: AnalysisRequest, namespace: str | None, seconds: float
    ) -> Submission:
        """Submit, then wait at most ``seconds`` for a response that is still pending."""
        submission = self.submit(account, request, namespace, needed=False)
        entry = self._recent.use((account, request))
        if entry is None or not entry.active:
            return submission
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await entry.ended()
        return entry.last.submission

    async def settled(self, account: str, names: Sequence[str], *, seconds: float) -> None:
        """Wait at most ``seconds`` for the response to a submission of a tag that is under way, under any name."""
        entries = [self._recent.use((account, AnalysisRequest(name))) for name in names]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for entry in entries:
                    if entry is not None and entry.active:
                        await entry.ended()

    def resolved(self, account: str, names: Sequence[str]) -> ResolvedTag | None:
        """Return the digest that a submission under one of the tag's names resolved it to; None once it is too old."""
        latest = self._recent.resolved(account, names)
        return latest if latest and self._repeats.holds(latest, self._clock()) else None

    def forget(self) -> None:
        """Forget every response. A submission under way is finished, but where it finds the tag does not count."""
        self._generation += 1
        self._recent.forget()
        self.revision += 1

    async def run(self) -> None:
        """Send queued submissions until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._schedule.concurrency):
                workers.create_task(self._work())

    async def drain(self, seconds: float) -> list[str]:
        """Accept no more submissions, wait at most ``seconds`` for the queue, and return the images that are left."""
        self._closed = True
        for retry in self._retries.values():
            retry.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # A copy, because entries may be added or forgotten during a wait.
                for _, entry in list(self._recent.items()):
                    await entry.ended()
        left = [request.full_tag for (_, request), entry in self._recent.items() if entry.active]
        if left:
            logger.warning("%d images were not submitted for analysis: %s", len(left), ", ".join(left[:_NAMED]))
        return left

    def has_room(self, namespace: str | None) -> bool:
        """Return whether the queue takes one more. Retries count too: in an outage, every submission becomes one."""
        return not self._closed and self._turns.has_room(namespace)

    def _drop(self, key: Key) -> None:
        """Give up a submission that has lost its place in the queue; it is due again at once."""
        if (retry := self._retries.pop(key, None)) is not None:
            retry.cancel()
        entry = self._recent[key]
        if entry.last.submission.state is SubmissionState.REQUESTED:
            self._recent.remove(key)
            entry.last = LastSubmission(Submission(SubmissionState.DROPPED))
        else:
            entry.last = replace(entry.last, at=float("-inf"))
        self._settle(key, entry, SubmissionState.DROPPED)

    async def _work(self) -> None:
        while True:
            key = await self._turns.get()
            entry = self._recent[key]
            try:
                self._record_depth()
                await self._attempt(key, entry)
            finally:
                self._turns.end(key, pauses=entry.active)
                if entry.active and key not in self._retries:
                    self._turns.resume(key)  # interrupted: for workers that are started again

    def _record_depth(self) -> None:
        self._recorder.queue_depth(len(self._turns) - len(self._retries))

    async def _attempt(self, key: Key, entry: Entry) -> None:
        account, request = key
        entry.attempts += 1
        generation = self._generation
        try:
            record = await self._accounts[account].submit(request, Deadline.after(ATTEMPT_SECONDS, self._clock))
        except EvaluationError as error:
            self._refused(entry, str(error), resolved=None if isinstance(error, _FINAL) else entry.last.resolved)
            if isinstance(error, _FINAL) or self._closed or entry.attempts >= ATTEMPTS:
                self._settle(key, entry, error.code)
            else:
                self._retry(key, entry)
        except Exception:
            logger.exception("submitting %s failed unexpectedly", request.full_tag)
            self._refused(entry, "the request for analysis failed", resolved=entry.last.resolved)
            self._settle(key, entry, "internal")
        else:
            resolved = ResolvedTag(record.digest, self._clock(), entry.looked_up, record.list_digest, record.listed_by)
            entry.last = replace(
                entry.last,
                submission=Submission(SubmissionState.ANSWERED, record.digest),
                resolved=resolved if generation == self._generation else None,
            )
            self._settle(key, entry, SubmissionState.ANSWERED)

    def _refused(self, entry: Entry, reason: str, *, resolved: ResolvedTag | None) -> None:
        """Remember a failure. ``resolved`` keeps the digest known before: an outage does not move a tag."""
        submission = Submission(SubmissionState.REFUSED, resolved.digest if resolved else None, reason)
        entry.last = replace(entry.last, submission=submission, resolved=resolved)
        self.revision += 1

    def _retry(self, key: Key, entry: Entry) -> None:
        # Jitter spreads the retries of submissions that failed at the same moment.
        seconds = FIRST_RETRY * 2 ** (entry.attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        self._retries[key] = asyncio.create_task(self._later(key, entry, seconds))
        entry.end()

    async def _later(self, key: Key, entry: Entry, seconds: float) -> None:
        await self._sleep(seconds)
        del self._retries[key]
        entry.begin()
        self._turns.resume(key)
        self._record_depth()

    def _settle(self, key: Key, entry: Entry, outcome: str) -> None:
        entry.active = False
        entry.end()
        self.revision += 1
        account, request = key
        self._recorder.submission(account=account, outcome=outcome)
        if entry.last.submission.state is SubmissionState.REFUSED:
            logger.warning("analysis of %s was not requested: %s", request.full_tag, entry.last.submission.reason)
