"""Gather the facts about images, from memory or else from Anchore, under the review's one deadline."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from msgspec import structs

from anchore_admission.core.answers import ByDigest, Query
from anchore_admission.core.assembly import Assembled, assemble, look_ups
from anchore_admission.core.facts import (
    AnalysisState,
    ImageFacts,
    ResolvedTag,
    Submission,
    SubmissionState,
)
from anchore_admission.core.freshness import Answer, Freshness
from anchore_admission.core.names import analysis_request, anchore_repositories, lookup_tags
from anchore_admission.core.question import Question
from anchore_admission.errors import AnchoreBusy, DeadlineExceeded, EvaluationError, ImageNotReached
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Recorder
from anchore_admission.services.reviews.flights import FLIGHT_SECONDS, Asker
from anchore_admission.services.reviews.gate import BACKGROUND, BY_HAND
from anchore_admission.services.reviews.memory import UNEXPECTED, Memory
from anchore_admission.services.reviews.resubmissions import Resubmissions
from anchore_admission.services.reviews.submissions import Submissions
from anchore_admission.services.reviews.whole import WholeFacts

logger = logging.getLogger("anchore_admission.facts")

_REPEATED_STATES = frozenset({AnalysisState.UNKNOWN, AnalysisState.FAILED})
"""States that waiting does not change: the image has to be submitted (again)."""
_WORKERS = 512
"""Images whose facts are gathered at once in all reviews, beside the first of each review."""
_NAMES = 3
"""Names that Anchore may hold an image under, looked up at once."""
_JUST_NOW = 5.0
"""Seconds for which a look-up tells what Anchore held just before a submission."""
ASKED = "asked"
"""The use of facts for which Anchore was asked."""
_FAILED_SUBMISSION = "submitting %s for analysis failed unexpectedly"
_NO_SUBMISSION = Submission()
_NOT_SUBMITTED = Submission(SubmissionState.REFUSED, reason=UNEXPECTED)

Outcomes = Mapping[Query, Answer | EvaluationError]
"""The outcomes of the questions that one review has asked about one image."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """The state that the images of one review share.

    ``share`` bounds the review's own calls. ``passive_end`` is the end of passive mode's wait. ``is_whole`` is True if
    no other review takes workers from this one, ``is_alone`` if none of its namespace does. Without ``side_effects``
    nothing is submitted.
    """

    asker: Asker
    share: asyncio.Semaphore
    passive_end: Deadline
    side_effects: bool
    is_whole: bool = True
    is_alone: bool = True

    @property
    def deadline(self) -> Deadline:
        return self.asker.deadline

    def unreached(self) -> EvaluationError:
        """Return the error for an image that was not looked up in time.

        ``ImageNotReached`` denies whatever ``onError`` says. It is right only if the object's own images took the time,
        or reviews of its namespace, because an author chooses their number; other namespaces' reviews are not his.
        """
        if self.asker.was_held_up or not self.is_alone:
            return AnchoreBusy()
        return ImageNotReached() if self.is_whole else DeadlineExceeded("no response before the deadline")


class FactGathering:
    """Gathers facts for many images at once.

    One review makes at most half of the ``concurrency`` of an account's calls at once, and no more than its images can
    use, so that a Pod with hundreds of images leaves room for the others. Passive mode waits ``passive_wait`` seconds
    at most for the response to a submission.
    """

    def __init__(
        self, memory: Memory, submissions: Submissions, recorder: Recorder, *, concurrency: int, passive_wait: float
    ) -> None:
        self._memory = memory
        self._submissions = submissions
        self._recorder = recorder
        self._most_of_one_review = max(1, concurrency // 2)
        self._passive_wait = passive_wait
        self._workers: Counter[str] = Counter()
        """By namespace, without the first of each review."""
        self._whole = WholeFacts(memory.most_bytes // 4)
        self._resubmissions = Resubmissions(self._resubmit)

    async def facts(
        self, questions: Sequence[Question], deadline: Deadline, *, namespace: str, side_effects: bool
    ) -> list[ImageFacts]:
        """Return the facts for each question in order, with an error in those that could not be learned in time.

        Without ``side_effects`` (a dry run, a review by hand) no analysis is requested.
        """
        now = deadline.clock()
        recalled = [self._recalled(question, now, namespace, side_effects=side_effects) for question in questions]
        asked = {question: None for question, facts in zip(questions, recalled, strict=True) if facts is None}
        found: dict[Question, ImageFacts] = {}
        if asked:
            await self._ask(list(asked), found, deadline, namespace, side_effects=side_effects)
        return [facts or found[question] for question, facts in zip(questions, recalled, strict=True)]

    def _recalled(self, question: Question, now: float, namespace: str, *, side_effects: bool) -> ImageFacts | None:
        """Return the facts if all of them are in memory and nothing has to be waited for."""
        if question.needs.awaits_submission or not question.needs.record:
            return None
        try:
            state = (self._memory.state(question.account), self._submissions.revision)
            if side_effects and (whole := self._whole.get(question, state, now)):
                self._recorder.recalled(account=question.account, use=Freshness.FRESH)
                return whole
            assembled = self._assembled(question, {}, stores=side_effects)
        except Exception:  # noqa: BLE001 - the worker for this image meets the same error, and reports it
            return None
        if assembled.missing:
            return None
        fresh_until = min([answer.fresh_until for answer in assembled.used])
        use = Freshness.FRESH if now < fresh_until else Freshness.REFRESHING
        self._recorder.recalled(account=question.account, use=use)
        submission, due_at = self._submitted(question, assembled, now, namespace, side_effects=side_effects)
        facts = _complete(assembled, submission, now)
        if side_effects:
            self._whole.keep(question, facts, assembled.used, state, until=min(fresh_until, due_at))
        return facts

    async def _ask(
        self,
        questions: Sequence[Question],
        found: dict[Question, ImageFacts],
        deadline: Deadline,
        namespace: str,
        *,
        side_effects: bool,
    ) -> None:
        """Gather the facts that memory does not hold, with a worker for each image while there are enough of them."""
        wanted = min(len(questions), self._most_of_one_review)
        # A namespace gets as many as leave no fewer free than it then has, so that none can take them from the others.
        spare = (_WORKERS - self._workers.total() - self._workers[namespace]) // 2
        workers = min(wanted, 1 + max(0, spare))
        is_whole = workers == wanted
        turn = _Turn(
            Asker(deadline, namespace, stores=side_effects),
            # Room for all names of one image at least: they must not wait for each other.
            share=asyncio.Semaphore(min(_NAMES * len(questions), max(_NAMES, self._most_of_one_review))),
            passive_end=Deadline.after(self._passive_wait, deadline.clock),
            side_effects=side_effects,
            is_whole=is_whole,
            is_alone=is_whole or namespace == BY_HAND or not self._workers[namespace],
        )
        if workers < len(questions) and side_effects:
            self._submit_early(questions, namespace)
        rest = iter(questions)
        self._workers[namespace] += workers - 1
        try:
            work = [self._work(rest, found, turn) for _ in range(workers)]
            await (work[0] if workers == 1 else asyncio.gather(*work))
        finally:
            self._workers[namespace] -= workers - 1
            if not self._workers[namespace]:
                del self._workers[namespace]

    def _submit_early(self, questions: Iterable[Question], namespace: str) -> None:
        """Queue the submissions of passive mode before waiting for the first image."""
        for question in questions:
            if question.needs.awaits_submission and question.request_analysis:
                self._submissions.submit(
                    question.account, analysis_request(question.reference), namespace, needed=False
                )

    async def _work(self, rest: Iterator[Question], found: dict[Question, ImageFacts], turn: _Turn) -> None:
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
            facts = await self._facts(question, turn)
            if (
                not is_first
                and turn.deadline.left() <= 0
                and (facts.is_stale or isinstance(facts.error, DeadlineExceeded))
            ):
                facts = replace(facts, record=None, evaluations=(), error=turn.unreached(), is_stale=False)
            found[question] = facts
            is_first = False

    async def _facts(self, question: Question, turn: _Turn) -> ImageFacts:
        """Gather the facts about one image. A failed submission does not affect the facts of the look-up."""
        assembled = Assembled()
        if question.needs.record:
            assembled = await self._look_up(question, turn)
            is_stale = any(answer.is_stale for answer in assembled.used)
            self._recorder.recalled(account=question.account, use=Freshness.STALE if is_stale else ASKED)
        now = turn.deadline.clock()
        if question.needs.awaits_submission:
            submission = await self._awaited(question, turn)
            resolved = self._submissions.resolved(question.account, lookup_tags(question.reference))
            return _complete(assembled, submission, now, resolved)
        submission, _ = self._submitted(question, assembled, now, turn.asker.namespace, side_effects=turn.side_effects)
        return _complete(assembled, submission, now)

    def _assembled(self, question: Question, outcomes: Outcomes, *, stores: bool) -> Assembled:
        """Assemble the facts from what this review has asked, and from memory."""
        recall = partial(self._memory.recall, question.account, anchore_repositories(question.reference), stores=stores)
        known = (lambda query: outcomes.get(query) or recall(query)) if outcomes else recall
        return assemble(question, known, partial(self._submissions.resolved, question.account))

    async def _look_up(self, question: Question, turn: _Turn) -> Assembled:
        """Ask what is missing until the facts are whole. A late or failed check keeps the record."""
        outcomes: dict[Query, Answer | EvaluationError] = {}
        try:
            if question.needs.evaluation:
                self._memory.expect_checks(question.account)
            while (assembled := self._assembled(question, outcomes, stores=turn.side_effects)).missing:
                outcomes.update(await self._outcomes(question, assembled.missing, turn))
        except Exception:
            logger.exception("looking up %s failed unexpectedly", question.reference.repository)
            return Assembled(error=EvaluationError(UNEXPECTED))
        return assembled

    async def _outcomes(self, question: Question, queries: Sequence[Query], turn: _Turn) -> Outcomes:
        """Ask several questions at once, and wait for all answers or the first failure."""
        if len(queries) == 1:  # most images have one name, which needs no task of its own
            return {queries[0]: await self._outcome(question, queries[0], turn)}
        tasks = {asyncio.create_task(self._outcome(question, query, turn)): query for query in queries}
        outcomes: dict[Query, Answer | EvaluationError] = {}
        pending = set(tasks)
        try:
            while pending and not any(isinstance(outcome, EvaluationError) for outcome in outcomes.values()):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                outcomes.update({tasks[task]: task.result() for task in done})
        finally:
            for task in pending:
                task.cancel()
        return outcomes

    async def _outcome(self, question: Question, query: Query, turn: _Turn) -> Answer | EvaluationError:
        """Ask one question once the review's own share of the calls has room."""
        if turn.share.locked():
            try:
                async with turn.deadline.bound():
                    await turn.share.acquire()
            except DeadlineExceeded:
                # The object's own images took the time, and their number is its author's choice.
                return ImageNotReached()
        else:
            await turn.share.acquire()  # at once, so whatever took the time was not the object's images
        try:
            repositories = anchore_repositories(question.reference)
            return await self._memory.ask(question.account, repositories, query, turn.asker, question.reference)
        finally:
            turn.share.release()

    def _submitted(
        self,
        question: Question,
        assembled: Assembled,
        now: float,
        namespace: str | None,
        *,
        side_effects: bool,
        looks_again: bool = True,
    ) -> tuple[Submission, float]:
        """Submit an image that needs analysis, or a tag to learn where it points, without waiting for the response.

        Return the latest submission, and when to see again whether another one is due.
        """
        reference = question.reference
        # After a failed look-up, the image is not known to be absent, so nothing is submitted for it.
        needed = assembled.error is None and assembled.state in _REPEATED_STATES
        moves = assembled.error is None and reference.digest is None
        if not question.request_analysis or not (needed or moves):
            return _NO_SUBMISSION, float("inf")
        if not side_effects:
            return Submission(SubmissionState.DRY_RUN), now
        request = analysis_request(reference, assembled.by_tag)
        looked_up = assembled.by_tag.digest if assembled.by_tag else ""
        try:
            last, due_at = self._submissions.last(question.account, request, needed=needed, looked_up=looked_up)
            if self._submissions.joined(question.account, request, namespace):
                return last, now  # so that reviews in further namespaces get here, too
            if due_at > now:
                return last, due_at
            is_old = moves and now - assembled.looked_up_at > _JUST_NOW
            if is_old and looks_again and self._submissions.has_room(namespace):
                # The response counts before later look-ups if it differs from what Anchore held just before
                # (``ResolvedTag``). A remembered look-up may be too old to tell.
                self._resubmissions.begin(question, namespace)
                return last, now
            last = self._submissions.submit(question.account, request, namespace, needed=needed, looked_up=looked_up)
        except Exception:
            logger.exception(_FAILED_SUBMISSION, reference.repository)
            return _NOT_SUBMITTED, now
        else:
            return last, now

    async def settled(self, question: Question, deadline: Deadline) -> None:
        """Wait until the submission of a tag that a look-up for this question has begun is over, or the deadline is."""
        await self._resubmissions.settled(question, deadline.left())
        await self._submissions.settled(
            question.account, lookup_tags(question.reference), seconds=max(0.0, deadline.left())
        )

    def know_by_digest(self, question: Question, digest: str, namespace: str) -> None:
        """Let the answer about a tag count for the digest that it was pinned to, so that no further look-up is needed.

        The record was found by the tag, so that the policy is evaluated for the same name.
        """
        if self._memory.has_fresh(question.account, ByDigest(digest)):
            return
        assembled = self._assembled(question, {}, stores=False)
        record = assembled.record
        known = next((answer for answer in assembled.used if record is not None and answer.value is record), None)
        if known is not None:
            self._memory.know_by_digest(question.account, digest, known, namespace)

    async def _resubmit(self, question: Question, namespaces: Iterable[str | None]) -> None:
        deadline = Deadline.after(FLIGHT_SECONDS, self._memory.clock)
        asker = Asker(deadline, BACKGROUND, stores=True, loads=False)
        turn = _Turn(asker, asyncio.Semaphore(_NAMES), passive_end=deadline, side_effects=True)
        outcomes = await self._outcomes(question, look_ups(question.reference), turn)
        assembled = self._assembled(question, outcomes, stores=True)
        # An older answer that stands in tells nothing about now; a later review of the image tries again. How long the
        # look-up took does not matter: while Anchore is slow, another one would take no less.
        if assembled.error is None and assembled.looked_up_at >= deadline.began - _JUST_NOW:
            for namespace in namespaces:
                self._submitted(question, assembled, deadline.clock(), namespace, side_effects=True, looks_again=False)

    async def _awaited(self, question: Question, turn: _Turn) -> Submission:
        """Submit an image in passive mode, and wait a moment for the response, which names its digest."""
        if not question.request_analysis:
            return Submission()
        if not turn.side_effects:
            return Submission(SubmissionState.DRY_RUN)
        if resolved := self._pinned(question):
            return Submission(SubmissionState.ANSWERED, resolved.digest)
        seconds = min(turn.passive_end.left(), turn.deadline.left())
        try:
            request = analysis_request(question.reference)
            return await self._submissions.submit_and_wait(question.account, request, turn.asker.namespace, seconds)
        except Exception:
            logger.exception(_FAILED_SUBMISSION, question.reference.repository)
            return _NOT_SUBMITTED

    def _pinned(self, question: Question) -> ResolvedTag | None:
        """Return where a tag points that was pinned to this digest: Anchore has the image by its tag already."""
        reference = question.reference
        if not (reference.digest and reference.tag):
            return None
        names = lookup_tags(structs.replace(reference, digest=None))
        resolved = self._submissions.resolved(question.account, names)
        return resolved if resolved and resolved.list_digest == reference.digest else None


def _complete(
    assembled: Assembled, submission: Submission, now: float, resolved: ResolvedTag | None = None
) -> ImageFacts:
    """Add the submission, and the age of the oldest answer."""
    used = assembled.used
    return ImageFacts(
        assembled.record,
        assembled.evaluations,
        submission,
        assembled.error,
        age=now - min([answer.at for answer in used], default=now),
        is_stale=any(answer.is_stale for answer in used),
        resolved=resolved or assembled.resolved,
    )
