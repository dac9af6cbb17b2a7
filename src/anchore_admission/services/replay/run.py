"""Run a replay: judge every request under one configuration or two, a few at once, within the time of the run."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from anchore_admission.core import messages
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.errors import DeadlineExceeded
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.replay.entries import Entry, Recorded
from anchore_admission.services.replay.report import Report
from anchore_admission.services.reviews.manual import Progress, Timeouts

_AT_ONCE = 16


class Judge(Protocol):
    """The reviews of one configuration."""

    async def review(self, request: AdmissionRequest, deadline: Deadline, *, origin: Origin) -> ReviewVerdict:
        """Judge a request."""


async def replay(
    batches: AsyncIterator[Sequence[Entry]],
    judges: tuple[Judge | None, Judge],
    timeouts: Timeouts,
    progress: Progress,
) -> Report:
    """Judge the entries of each batch under today's configuration, if there is one, and the new one.

    A batch is judged as a whole before the next one is read, so that memory holds one batch. No side effects: the
    origin of every review is a person.
    """
    report = Report()
    ended = 0
    run = Deadline.after(timeouts.run)
    try:
        async with run.bound():
            async for batch in batches:
                verdicts = await _judged(batch, judges, timeouts.each)
                for entry in batch:
                    if isinstance(entry, Recorded):
                        report.expect(entry)
                for entry, pair in zip(batch, verdicts, strict=True):
                    if isinstance(entry, Recorded) and pair:
                        report.add(entry, *pair)
                    elif not isinstance(entry, Recorded):
                        report.leave_out(entry)
                ended += len(batch)
                progress(ended, 0)
    except DeadlineExceeded:
        report.stopped = messages.run_out_of_time(timeouts.run)
    return report


async def _judged(
    batch: Sequence[Entry], judges: tuple[Judge | None, Judge], seconds: float
) -> list[tuple[ReviewVerdict | None, ReviewVerdict] | None]:
    """Judge a batch, a few requests at once; None stands for an entry without a request."""
    slots = asyncio.Semaphore(_AT_ONCE)
    today, new = judges

    async def one(entry: Entry) -> tuple[ReviewVerdict | None, ReviewVerdict] | None:
        if not isinstance(entry, Recorded):
            return None
        async with slots:
            # One after the other: the second one finds in memory what the first one has asked.
            before = await _review(today, entry.request, seconds) if today else None
            return before, await _review(new, entry.request, seconds)

    return await asyncio.gather(*map(one, batch))


async def _review(judge: Judge, request: AdmissionRequest, seconds: float) -> ReviewVerdict:
    return await judge.review(request, Deadline.after(seconds), origin=Origin.MANUAL)
