"""Asks Anchore for analyses off the hot path: one queue that owns every submission and remembers its answer."""

import asyncio
import contextlib
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from anchore_admission.core.facts import Submission, SubmissionState
from anchore_admission.core.submission import AnalysisRequest
from anchore_admission.errors import AnalysisRefused, AnchoreRefused, EvaluationError
from anchore_admission.ports import AnchoreAccounts, Clock, Deadline, Recorder

logger = logging.getLogger("anchore_admission.analysis")

REMEMBERED = 10_000
"""Images whose last submission is kept; the oldest are forgotten first."""
ATTEMPTS = 4
FIRST_RETRY = 2.0
"""Seconds before a submission that met an outage is tried again; doubled each time, with jitter."""
FIRST_REPEAT = 30.0
"""Seconds before an image that stays unknown, refused or failed may be submitted again; doubled each time."""
ATTEMPT_SECONDS = 30.0
_NAMED = 50

Key = tuple[str, AnalysisRequest]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often and how much. Seconds and counts."""

    concurrency: int = 3
    queue_size: int = 1000
    refresh_interval: float = 600.0


@dataclass(slots=True)
class _Entry:
    """What is remembered of one image in one account."""

    submission: Submission = field(default_factory=Submission)
    resolved: str | None = None
    """The digest of the latest answer: what the tag points to, until the next answer."""
    asked_at: float = float("-inf")
    repeats: int = 0
    attempts: int = 0
    active: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


class AnalysisRequests:
    """A bounded, deduplicating queue: one submission in flight per image, ``concurrency`` in all.

    Ask with ``needed`` when a verdict waits for the analysis (unknown or failed images: repeated with growing
    back-off), without it to refresh what a tag points to (once per refresh interval).
    """

    def __init__(
        self,
        accounts: AnchoreAccounts,
        recorder: Recorder,
        schedule: Schedule,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._accounts = accounts
        self._recorder = recorder
        self._schedule = schedule
        self._clock = clock
        self._sleep = sleep
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting = 0
        self._retries: dict[Key, asyncio.Task[None]] = {}
        self._closed = False

    def ask(self, account: str, request: AnalysisRequest, *, needed: bool) -> Submission:
        """Queue a submission if one is due, and say what is known of the latest. Never waits."""
        key = (account, request)
        entry = self._entry(key)
        if entry.active or not self._is_due(entry, needed=needed):
            return entry.submission
        if self._closed or self._waiting >= self._schedule.queue_size:
            self._recorder.submission(account=account, outcome=SubmissionState.DROPPED)
            return Submission(SubmissionState.DROPPED)
        again = needed or entry.submission.state is SubmissionState.REFUSED
        entry.repeats = entry.repeats + 1 if again else 0
        entry.asked_at = self._clock()
        entry.attempts = 0
        entry.active = True
        entry.done.clear()
        if entry.submission.state is not SubmissionState.REFUSED:
            entry.submission = Submission(SubmissionState.REQUESTED, entry.resolved)
        self._enqueue(key)
        return entry.submission

    async def ask_and_wait(self, account: str, request: AnalysisRequest, seconds: float) -> Submission:
        """As ``ask``, then wait a little for the answer that is on its way."""
        submission = self.ask(account, request, needed=False)
        entry = self._entries.get((account, request))
        if entry is None or not entry.active:
            return submission
        try:
            async with asyncio.timeout(seconds):
                await entry.done.wait()
        except TimeoutError:
            return _remembered(entry)
        return entry.submission

    def resolved(self, account: str, request: AnalysisRequest) -> str | None:
        """The digest that Anchore last answered for this tag; it is newer than what a look-up says."""
        entry = self._entries.get((account, request))
        return entry.resolved if entry else None

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._schedule.concurrency):
                workers.create_task(self._work())

    async def drain(self, seconds: float) -> list[str]:
        """Take no more, give what is queued some seconds, and name the images that were not submitted."""
        self._closed = True
        for retry in self._retries.values():
            retry.cancel()
        under_way = [entry for key, entry in self._entries.items() if entry.active and key not in self._retries]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for entry in under_way:
                    await entry.done.wait()
        left = [request.full_tag for (_, request), entry in self._entries.items() if entry.active]
        if left:
            logger.warning("%d images were not submitted for analysis: %s", len(left), ", ".join(left[:_NAMED]))
        return left

    def _entry(self, key: Key) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            self._forget()
        self._entries.move_to_end(key)
        return entry

    def _forget(self) -> None:
        for key in list(self._entries)[: max(0, len(self._entries) - REMEMBERED)]:
            if not self._entries[key].active:
                del self._entries[key]

    def _is_due(self, entry: _Entry, *, needed: bool) -> bool:
        interval = self._schedule.refresh_interval
        if needed or entry.submission.state is SubmissionState.REFUSED:
            interval = min(interval, FIRST_REPEAT * 2 ** max(0, entry.repeats - 1))
        return self._clock() >= entry.asked_at + interval

    def _enqueue(self, key: Key) -> None:
        self._queue.put_nowait(key)
        self._waiting += 1
        self._recorder.queue_depth(self._waiting)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._waiting -= 1
            self._recorder.queue_depth(self._waiting)
            await self._submit(key, self._entries[key])

    async def _submit(self, key: Key, entry: _Entry) -> None:
        account, request = key
        entry.attempts += 1
        try:
            record = await self._accounts[account].submit(request, Deadline.after(ATTEMPT_SECONDS, self._clock))
        except (AnalysisRefused, AnchoreRefused) as error:
            self._settle(key, entry, Submission(SubmissionState.REFUSED, entry.resolved, str(error)), error.code)
        except EvaluationError as error:
            self._retry_or_settle(key, entry, error)
        except Exception:
            logger.exception("submitting %s failed unexpectedly", request.full_tag)
            failed = Submission(SubmissionState.REFUSED, entry.resolved, "the request for analysis failed")
            self._settle(key, entry, failed, "internal")
        else:
            entry.resolved = record.digest
            answered = Submission(SubmissionState.ANSWERED, record.digest)
            self._settle(key, entry, answered, SubmissionState.ANSWERED)

    def _retry_or_settle(self, key: Key, entry: _Entry, error: EvaluationError) -> None:
        if entry.attempts < ATTEMPTS and not self._closed:
            seconds = FIRST_RETRY * 2 ** (entry.attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            self._retries[key] = asyncio.create_task(self._later(key, seconds))
            return
        self._settle(key, entry, Submission(SubmissionState.REFUSED, entry.resolved, str(error)), error.code)

    async def _later(self, key: Key, seconds: float) -> None:
        await self._sleep(seconds)
        del self._retries[key]
        self._enqueue(key)

    def _settle(self, key: Key, entry: _Entry, submission: Submission, outcome: str) -> None:
        entry.submission = submission
        entry.active = False
        entry.done.set()
        self._recorder.submission(account=key[0], outcome=outcome)
        if submission.state is SubmissionState.REFUSED:
            logger.warning("analysis of %s was not requested: %s", key[1].full_tag, submission.reason)


def _remembered(entry: _Entry) -> Submission:
    """What an earlier submission brought, while the next is still on its way."""
    if entry.resolved:
        return Submission(SubmissionState.ANSWERED, entry.resolved)
    return entry.submission
