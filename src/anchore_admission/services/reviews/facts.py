"""Gather the facts about images: only those that each mode needs, concurrently, under the review's one deadline."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from anchore_admission.core.facts import (
    AnalysisState,
    ImageFacts,
    ImageRecord,
    PolicyEvaluation,
    Submission,
    SubmissionState,
)
from anchore_admission.core.names import analysis_request, check_tags, distinguishes, lookup_tags, newest, repository_of
from anchore_admission.core.question import Question
from anchore_admission.core.reference import ImageReference
from anchore_admission.errors import DeadlineExceeded, EvaluationError, ImageNotReached
from anchore_admission.ports.anchore import Anchore, AnchoreAccounts
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.submissions import Submissions

logger = logging.getLogger("anchore_admission.facts")

_REPEATED_STATES = frozenset({AnalysisState.UNKNOWN, AnalysisState.FAILED})
"""States that waiting does not change: the image has to be submitted (again)."""
_WORKERS = 512
"""Images whose facts are gathered at once in all reviews; beyond that, each review gathers one image's at a time."""
_NAMES = 3
"""Names that Anchore may hold an image under, looked up at once."""
_UNEXPECTED = "an unexpected error, see the controller's log"


class _Account:
    """One account on behalf of one review: ``slots`` bound the calls of all reviews, ``share`` those of this one."""

    def __init__(
        self, anchore: Anchore, slots: asyncio.Semaphore, share: asyncio.Semaphore, deadline: Deadline
    ) -> None:
        self._anchore = anchore
        self._slots = slots
        self._share = share
        self._deadline = deadline
        self._waiting = 0
        self._under_way = 0

    @property
    def is_unreached(self) -> bool:
        """True if calls only waited for the review's own other images when time ran out, and none was under way."""
        return self._waiting > 0 and self._under_way == 0

    async def newest(self, reference: ImageReference) -> ImageRecord | None:
        """Return the newest record under any of the tag's names. If one look-up fails, its record may be the newest."""
        names = lookup_tags(reference)
        if len(names) == 1:  # most images have one, which needs no task of its own
            return await self._by_tag(names[0])
        try:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(self._by_tag(name)) for name in names]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return newest([record for call in calls if (record := call.result())], reference)

    async def by_digest(self, digest: str) -> ImageRecord | None:
        async with self._turn():
            return await self._anchore.by_digest(digest, self._deadline)

    async def check(self, digest: str, full_tag: str, policy: str | None) -> PolicyEvaluation | AnalysisState:
        async with self._turn():
            return await self._anchore.check(digest, full_tag, policy, self._deadline)

    async def _by_tag(self, full_tag: str) -> ImageRecord | None:
        async with self._turn():
            return await self._anchore.by_tag(full_tag, self._deadline)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Count the calls that wait for the review's share and those under way; an interrupted call stays counted."""
        self._waiting += 1
        # The review's own share first: while a call waits for it, it keeps no slot from other reviews.
        async with self._share:
            self._waiting -= 1
            self._under_way += 1
            async with self._slots:
                yield
            self._under_way -= 1


@dataclass(frozen=True, slots=True)
class _Turn:
    """The state that the images of one review share.

    ``passive_end`` is the end of passive mode's wait; ``is_whole`` is True if no other review takes workers from this
    one.
    """

    deadline: Deadline
    share: asyncio.Semaphore
    passive_end: Deadline
    is_whole: bool

    def unreached(self) -> EvaluationError:
        """Return the error for an image that was not looked up in time.

        ``ImageNotReached`` denies whatever ``onError`` says. It is right only if the object's own images took the time,
        because their number is its author's choice; other reviews are not.
        """
        kind = ImageNotReached if self.is_whole else DeadlineExceeded
        return kind("no response before the deadline")


class FactGathering:
    """Gathers facts for many images at once, with at most ``concurrency`` calls per account in all reviews together.

    The bound is each account's own: an Anchore that hangs must not keep reviews from calling another. One review makes
    at most half of that many calls at once, and no more than its images can use, so that a Pod with hundreds of images
    leaves room for the others. Passive mode waits ``passive_wait`` seconds at most for the response to a submission.
    """

    def __init__(
        self, accounts: AnchoreAccounts, submissions: Submissions, *, concurrency: int, passive_wait: float
    ) -> None:
        self._accounts = accounts
        self._submissions = submissions
        self._slots = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(concurrency))
        self._most_of_one_review = max(1, concurrency // 2)
        self._passive_wait = passive_wait
        self._workers = 0

    async def facts(
        self, questions: Iterable[Question], deadline: Deadline, *, side_effects: bool
    ) -> dict[Question, ImageFacts]:
        """Return the facts for every question, with an error in those that could not be learned in time.

        Without ``side_effects`` (a dry run, a review by hand) no analysis is requested.
        """
        questions = list(dict.fromkeys(questions))
        wanted = min(len(questions), self._most_of_one_review)
        workers = max(1, min(wanted, _WORKERS - self._workers))
        share = asyncio.Semaphore(min(_NAMES * len(questions), self._most_of_one_review))
        turn = _Turn(deadline, share, Deadline.after(self._passive_wait, deadline.clock), workers == wanted)
        if workers < len(questions) and side_effects:
            self._submit_early(questions)
        found: dict[Question, ImageFacts] = {}
        rest = iter(questions)
        self._workers += workers
        try:
            work = [self._work(rest, found, turn, side_effects=side_effects) for _ in range(workers)]
            await (work[0] if workers == 1 else asyncio.gather(*work))
        finally:
            self._workers -= workers
        return {question: found[question] for question in questions}

    def _submit_early(self, questions: Iterable[Question]) -> None:
        """Queue the submissions of passive mode before waiting for the first image."""
        for question in questions:
            if question.needs.awaits_submission and question.request_analysis:
                self._submissions.submit(question.account, analysis_request(question.reference), needed=False)

    async def _work(
        self,
        rest: Iterator[Question],
        found: dict[Question, ImageFacts],
        turn: _Turn,
        *,
        side_effects: bool,
    ) -> None:
        """Gather the facts about one image after another.

        A task for each image would let a few hundred Pods with many images fill the memory while Anchore is slow.
        """
        is_first = True
        for question in rest:
            # A worker's first image is looked up in any case: if time runs out even for it, the number of images is not
            # the cause.
            if question.needs.record and not is_first and turn.deadline.left() <= 0:
                found[question] = ImageFacts(error=turn.unreached())
                continue
            is_first = False
            found[question] = await self._facts(question, turn, side_effects=side_effects)

    async def _facts(self, question: Question, turn: _Turn, *, side_effects: bool) -> ImageFacts:
        """Gather the facts about one image. A failed submission does not affect the facts of the look-up."""
        facts, by_tag = ImageFacts(), None
        if question.needs.record:
            facts, by_tag = await self._look_up(question, turn.deadline, turn.share)
        try:
            submission = await self._submission(question, facts, by_tag, turn, side_effects=side_effects)
        except Exception:
            logger.exception("submitting %s for analysis failed unexpectedly", question.reference.repository)
            submission = Submission(SubmissionState.REFUSED, reason=_UNEXPECTED)
        return replace(facts, submission=submission)

    async def _look_up(
        self, question: Question, deadline: Deadline, share: asyncio.Semaphore
    ) -> tuple[ImageFacts, ImageRecord | None]:
        """Return the facts and the record that Anchore holds by tag. A late or failed check keeps the record."""
        reference = question.reference
        by_tag: ImageRecord | None = None
        record: ImageRecord | None = None
        account: _Account | None = None
        try:
            async with deadline.bound():
                account = _Account(self._accounts[question.account], self._slots[question.account], share, deadline)
                if reference.digest:
                    record = await account.by_digest(reference.digest)
                else:
                    by_tag = record = await account.newest(reference)
                    resolved = self._submissions.resolved(question.account, lookup_tags(reference))
                    if resolved and resolved.overrides(by_tag):
                        # If this look-up fails, the outdated record must not be judged in its place.
                        record = None
                        record = await account.by_digest(resolved.digest)
                if not question.needs.evaluation or record is None or record.state is not AnalysisState.ANALYZED:
                    return ImageFacts(record), by_tag
                evaluated = await _evaluated(account, record, reference, question.policy)
        except EvaluationError as error:
            is_unreached = isinstance(error, DeadlineExceeded) and account is not None and account.is_unreached
            return ImageFacts(record, error=ImageNotReached(str(error)) if is_unreached else error), by_tag
        except Exception:
            logger.exception("looking up %s failed unexpectedly", reference.repository)
            return ImageFacts(record, error=EvaluationError(_UNEXPECTED)), by_tag
        if isinstance(evaluated, AnalysisState):
            return ImageFacts(None if evaluated is AnalysisState.UNKNOWN else replace(record, state=evaluated)), by_tag
        return ImageFacts(record, evaluations=evaluated), by_tag

    async def _submission(
        self,
        question: Question,
        facts: ImageFacts,
        by_tag: ImageRecord | None,
        turn: _Turn,
        *,
        side_effects: bool,
    ) -> Submission:
        """Submit an image that needs analysis, or a tag to learn where it points; only passive mode waits."""
        reference = question.reference
        # After a failed look-up, the image is not known to be absent, so nothing is submitted for it.
        needed = facts.error is None and facts.state in _REPEATED_STATES
        moves = facts.error is None and reference.digest is None
        if not question.request_analysis or not (needed or moves):
            return Submission()
        if not side_effects:
            return Submission(SubmissionState.DRY_RUN)
        request = analysis_request(reference, by_tag)
        if question.needs.awaits_submission:
            seconds = min(turn.passive_end.left(), turn.deadline.left())
            return await self._submissions.submit_and_wait(question.account, request, seconds)
        looked_up = by_tag.digest if by_tag else ""
        return self._submissions.submit(question.account, request, needed=needed, looked_up=looked_up)


async def _evaluated(
    account: _Account, record: ImageRecord, reference: ImageReference, policy: str | None
) -> tuple[PolicyEvaluation, ...] | AnalysisState:
    """Evaluate the policy under every name that it may judge differently.

    To Anchore, the two names of Docker Hub's official images and the spellings of a registry are different images.
    Which of them Anchore holds may depend on our own submissions, and which of them a workload uses is its author's
    choice; the verdict must depend on neither. Most responses show the policy's mappings: if those treat all names
    alike, one call is enough.
    """
    evaluations: list[PolicyEvaluation] = []
    tags = check_tags(record, reference)
    for full_tag in tags:
        evaluation = await account.check(record.digest, full_tag, policy)
        if evaluation is AnalysisState.UNKNOWN and evaluations:
            continue  # this Anchore accepts only names that it has seen on the image, and judges it by no other
        if isinstance(evaluation, AnalysisState):
            return evaluation
        evaluations.append(replace(evaluation, repository=repository_of(full_tag)))
        if evaluation.selectors is not None and not distinguishes(evaluation.selectors, tags):
            break
    return tuple(evaluations)
