"""Asks Anchore for analyses off the hot path: one queue that owns every submission and remembers its answer."""

import asyncio
import contextlib
import logging
import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from anchore_admission.core.facts import Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.core.tags import TagAnswer
from anchore_admission.errors import AnalysisRefused, AnchoreRefused, EvaluationError
from anchore_admission.ports.anchore import AnchoreAccounts
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.telemetry import Recorder

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
    """The latest response, which stands while the next one is on its way."""
    answer: TagAnswer | None = None
    """The digest of that response, as long as it says what the tag is."""
    looked_up: str | None = None
    """The digest that a look-up found before the submission; empty: none, None: there was no look-up."""
    asked_at: float = float("-inf")
    pause: float = 0.0
    """Seconds before a needed or refused image is due again."""
    attempts: int = 0
    active: bool = False
    """From the question until Anchore's last word; then it may be forgotten."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no attempt is queued or under way."""


class _Turns:
    """Keys in line, one line per registry, served in turn: a registry that hangs holds up its own images first."""

    def __init__(self) -> None:
        self._lines: OrderedDict[tuple[str, str], deque[Key]] = OrderedDict()
        self._ready = asyncio.Semaphore(0)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, key: Key) -> None:
        account, request = key
        registry = request.full_tag.partition("/")[0]
        self._lines.setdefault((account, registry), deque()).append(key)
        self._length += 1
        self._ready.release()

    async def get(self) -> Key:
        await self._ready.acquire()
        registry, line = self._lines.popitem(last=False)
        key = line.popleft()
        self._length -= 1
        if line:
            self._lines[registry] = line
        return key


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
        self._queue = _Turns()
        self._retries: dict[Key, asyncio.Task[None]] = {}
        self._closed = False

    def ask(self, account: str, request: AnalysisRequest, *, needed: bool, looked_up: str | None = None) -> Submission:
        """Queue a submission if one is due, and return what is known of the latest. Never waits.

        ``looked_up`` is the digest that Anchore holds for the tag, empty for none, None where nothing was looked up.
        """
        key = (account, request)
        entry = self._entries.get(key)
        if entry is None:
            entry = _Entry()
        else:
            self._entries.move_to_end(key)
        if entry.active or not self._is_due(entry, needed=needed, looked_up=looked_up):
            return entry.submission
        if not self._has_room():
            self._recorder.submission(account=account, outcome=SubmissionState.DROPPED)
            return Submission(SubmissionState.DROPPED) if key not in self._entries else entry.submission
        entry.looked_up = looked_up
        self._begin(key, entry, needed=needed)
        return entry.submission

    async def ask_and_wait(self, account: str, request: AnalysisRequest, seconds: float) -> Submission:
        """As ``ask``, then wait a little for the answer that is on its way."""
        submission = self.ask(account, request, needed=False)
        entry = self._entries.get((account, request))
        if entry is None or not entry.active:
            return submission
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await entry.heard.wait()
        return entry.submission

    def resolved(self, account: str, names: Sequence[str]) -> TagAnswer | None:
        """Return the latest digest that Anchore resolved a tag to, submitted under any of its names.

        It is forgotten after two refresh intervals, so that a tag in use is refreshed before, and when Anchore
        refuses the tag.
        """
        entries = (self._entries.get((account, AnalysisRequest(name))) for name in names)
        answers = [entry.answer for entry in entries if entry and entry.answer]
        latest = max(answers, key=lambda answer: answer.at, default=None)
        return latest if latest and self._clock() < latest.at + 2 * self._schedule.refresh_interval else None

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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for entry in list(self._entries.values()):
                    await entry.heard.wait()
        left = [request.full_tag for (_, request), entry in self._entries.items() if entry.active]
        if left:
            logger.warning("%d images were not submitted for analysis: %s", len(left), ", ".join(left[:_NAMED]))
        return left

    def _is_due(self, entry: _Entry, *, needed: bool, looked_up: str | None) -> bool:
        """An answer that nothing was compared with is asked for again at once where a look-up says otherwise."""
        answer = entry.answer
        in_doubt = answer is not None and answer.before is None and looked_up not in {None, answer.digest}
        again = needed or in_doubt or entry.submission.state is SubmissionState.REFUSED
        return self._clock() >= entry.asked_at + (entry.pause if again else self._schedule.refresh_interval)

    def _has_room(self) -> bool:
        """What waits for its next attempt counts too: in an outage everything does."""
        return not self._closed and len(self._queue) + len(self._retries) < self._schedule.queue_size

    def _begin(self, key: Key, entry: _Entry, *, needed: bool) -> None:
        again = needed or entry.submission.state is SubmissionState.REFUSED
        entry.pause = min(max(FIRST_REPEAT, 2 * entry.pause if again else 0.0), self._schedule.refresh_interval)
        entry.asked_at = self._clock()
        entry.attempts = 0
        entry.active = True
        if entry.submission.state is SubmissionState.NONE:
            entry.submission = Submission(SubmissionState.REQUESTED)
        self._entries[key] = entry
        self._forget()
        self._enqueue(key, entry)

    def _forget(self) -> None:
        """Only what was submitted is remembered, so that a full queue costs nobody else's memory."""
        if len(self._entries) > REMEMBERED:
            oldest = next((key for key, entry in self._entries.items() if not entry.active), None)
            if oldest is not None:
                del self._entries[oldest]

    def _enqueue(self, key: Key, entry: _Entry) -> None:
        entry.heard.clear()
        self._queue.put(key)
        self._recorder.queue_depth(len(self._queue))

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            entry = self._entries[key]
            try:
                self._recorder.queue_depth(len(self._queue))
                await self._submit(key, entry)
            except BaseException:
                if entry.active:
                    self._queue.put(key)  # for whoever runs next
                raise

    async def _submit(self, key: Key, entry: _Entry) -> None:
        account, request = key
        entry.attempts += 1
        try:
            record = await self._accounts[account].submit(request, Deadline.after(ATTEMPT_SECONDS, self._clock))
        except EvaluationError as error:
            if isinstance(error, AnalysisRefused | AnchoreRefused):
                entry.answer = None
            entry.submission = Submission(SubmissionState.REFUSED, _digest(entry.answer), str(error))
            if self._is_worth_a_retry(entry, error):
                self._retry(key, entry)
            else:
                self._settle(key, entry, error.code)
        except Exception:
            logger.exception("submitting %s failed unexpectedly", request.full_tag)
            entry.submission = Submission(
                SubmissionState.REFUSED, _digest(entry.answer), "the request for analysis failed"
            )
            self._settle(key, entry, "internal")
        else:
            entry.answer = TagAnswer(record.digest, self._clock(), entry.looked_up)
            entry.submission = Submission(SubmissionState.ANSWERED, record.digest)
            self._settle(key, entry, SubmissionState.ANSWERED)

    def _is_worth_a_retry(self, entry: _Entry, error: EvaluationError) -> bool:
        """An outage passes; a refusal is asked again only when somebody needs the image."""
        final = isinstance(error, AnalysisRefused | AnchoreRefused)
        return not final and not self._closed and entry.attempts < ATTEMPTS

    def _retry(self, key: Key, entry: _Entry) -> None:
        seconds = FIRST_RETRY * 2 ** (entry.attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        self._retries[key] = asyncio.create_task(self._later(key, entry, seconds))
        entry.heard.set()

    async def _later(self, key: Key, entry: _Entry, seconds: float) -> None:
        await self._sleep(seconds)
        del self._retries[key]
        self._enqueue(key, entry)

    def _settle(self, key: Key, entry: _Entry, outcome: str) -> None:
        entry.active = False
        entry.heard.set()
        self._recorder.submission(account=key[0], outcome=outcome)
        if entry.submission.state is SubmissionState.REFUSED:
            logger.warning("analysis of %s was not requested: %s", key[1].full_tag, entry.submission.reason)


def _digest(answer: TagAnswer | None) -> str | None:
    return answer.digest if answer else None
