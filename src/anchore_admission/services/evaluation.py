"""Fetches the facts about images: only what each mode needs, concurrently, under the review's one deadline."""

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass, replace

from anchore_admission.core.facts import (
    AnalysisState,
    ImageFacts,
    ImageRecord,
    PolicyEvaluation,
    Submission,
    SubmissionState,
)
from anchore_admission.core.modes import MODES, NOTHING, Needs
from anchore_admission.core.reference import ImageReference
from anchore_admission.core.rules import Rule
from anchore_admission.core.submission import analysis_request, check_tag, lookup_tags, newest
from anchore_admission.errors import EvaluationError
from anchore_admission.ports import Anchore, AnchoreAccounts, Deadline
from anchore_admission.services.analysis import AnalysisRequests

logger = logging.getLogger("anchore_admission.evaluation")

_REPEATED_STATES = frozenset({AnalysisState.UNKNOWN, AnalysisState.FAILED})
"""States that no waiting changes: Anchore has to be asked (again)."""
_UNEXPECTED = "an unexpected error, see the controller's log"


@dataclass(frozen=True, slots=True)
class Question:
    """What has to be known of one image; equal questions are asked once."""

    repository: str
    tag: str | None
    digest: str | None
    account: str
    policy: str | None
    needs: Needs
    request_analysis: bool

    @classmethod
    def about(cls, reference: ImageReference, rule: Rule) -> "Question | None":
        """None where the rule's mode asks nothing."""
        needs = MODES[rule.mode].needs
        if needs is NOTHING:
            return None
        return cls(
            repository=reference.repository,
            tag=reference.tag,
            digest=reference.digest,
            account=rule.account,
            policy=rule.policy if needs.evaluation else None,
            needs=needs,
            request_analysis=rule.request_analysis,
        )


class _Account:
    """One account, asked at most so many things at once."""

    def __init__(self, anchore: Anchore, slots: asyncio.Semaphore, deadline: Deadline) -> None:
        self._anchore = anchore
        self._slots = slots
        self._deadline = deadline

    async def newest(self, reference: ImageReference) -> ImageRecord | None:
        """The newest record under any of the tag's names. An error under one of them is an error."""
        try:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(self._by_tag(name)) for name in lookup_tags(reference)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return newest([record for call in calls if (record := call.result())], reference)

    async def by_digest(self, digest: str) -> ImageRecord | None:
        async with self._slots:
            return await self._anchore.by_digest(digest, self._deadline)

    async def check(self, digest: str, full_tag: str, policy: str | None) -> PolicyEvaluation | AnalysisState:
        async with self._slots:
            return await self._anchore.check(digest, full_tag, policy, self._deadline)

    async def _by_tag(self, full_tag: str) -> ImageRecord | None:
        async with self._slots:
            return await self._anchore.by_tag(full_tag, self._deadline)


class Evaluation:
    """Gathers facts for many images at once, with at most ``concurrency`` calls per account in all reviews together.

    The bound is each account's own: an Anchore that hangs must not keep reviews from asking another. One review looks
    at half of that many images at once, so that a Pod with a thousand images leaves room for the others.
    ``passive_wait`` is how many seconds passive mode waits for the answer to a submission.
    """

    def __init__(
        self, accounts: AnchoreAccounts, requests: AnalysisRequests, *, concurrency: int, passive_wait: float
    ) -> None:
        self._accounts = accounts
        self._requests = requests
        self._slots = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(concurrency))
        self._images_at_once = max(1, concurrency // 2)
        self._passive_wait = passive_wait

    async def facts(
        self, questions: dict[Question, ImageReference], deadline: Deadline, *, side_effects: bool
    ) -> dict[Question, ImageFacts]:
        """Every question gets its facts, with an error in them where something could not be learnt in time.

        Without ``side_effects`` (a dry run, a review by hand) Anchore is asked for no analysis.
        """
        if not questions:
            return {}
        turns = asyncio.Semaphore(self._images_at_once)
        found = await asyncio.gather(
            *(
                self._facts(q, reference, deadline, turns, side_effects=side_effects)
                for q, reference in questions.items()
            )
        )
        return dict(zip(questions, found, strict=True))

    async def _facts(
        self,
        question: Question,
        reference: ImageReference,
        deadline: Deadline,
        turns: asyncio.Semaphore,
        *,
        side_effects: bool,
    ) -> ImageFacts:
        """A request for analysis that fails takes nothing away from what was looked up."""
        facts = ImageFacts()
        if question.needs.record:
            facts = await self._look_up(question, reference, deadline, turns)
        try:
            submission = await self._submission(question, reference, facts, deadline, side_effects=side_effects)
        except Exception:
            logger.exception("asking for the analysis of %s failed unexpectedly", reference.repository)
            submission = Submission(SubmissionState.REFUSED, reason=_UNEXPECTED)
        return replace(facts, submission=submission)

    async def _look_up(
        self, question: Question, reference: ImageReference, deadline: Deadline, turns: asyncio.Semaphore
    ) -> ImageFacts:
        """A late or failed check still leaves the record that was found."""
        record: ImageRecord | None = None
        try:
            async with deadline.bound(), turns:
                account = _Account(self._accounts[question.account], self._slots[question.account], deadline)
                record = await self._record(account, question, reference)
                if not question.needs.evaluation or record is None or record.state is not AnalysisState.ANALYZED:
                    return ImageFacts(record)
                answer = await account.check(record.digest, check_tag(record, reference), question.policy)
        except EvaluationError as error:
            return ImageFacts(record, error=error)
        except Exception:
            logger.exception("looking up %s failed unexpectedly", reference.repository)
            return ImageFacts(record, error=EvaluationError(_UNEXPECTED))
        if isinstance(answer, AnalysisState):
            return ImageFacts(None if answer is AnalysisState.UNKNOWN else replace(record, state=answer))
        return ImageFacts(record, evaluation=answer)

    async def _record(self, account: _Account, question: Question, reference: ImageReference) -> ImageRecord | None:
        digest = reference.digest or self._requests.resolved(question.account, analysis_request(reference))
        return await (account.by_digest(digest) if digest else account.newest(reference))

    async def _submission(
        self,
        question: Question,
        reference: ImageReference,
        facts: ImageFacts,
        deadline: Deadline,
        *,
        side_effects: bool,
    ) -> Submission:
        """Ask for an analysis that is missing, and now and then where a tag points to; only passive mode waits."""
        needed = facts.error is None and facts.state in _REPEATED_STATES
        moves = facts.error is None and reference.digest is None
        if not question.request_analysis or not (needed or moves):
            return Submission()
        if not side_effects:
            return Submission(SubmissionState.DRY_RUN)
        request = analysis_request(reference)
        if question.needs.submission:
            seconds = min(self._passive_wait, deadline.left())
            return await self._requests.ask_and_wait(question.account, request, seconds)
        return self._requests.ask(question.account, request, needed=needed)
