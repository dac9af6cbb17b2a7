"""Fetches the facts about images: only what each mode needs, concurrently, under the review's one deadline."""

import asyncio
import logging
from dataclasses import dataclass, replace

from anchore_admission.core.facts import AnalysisState, ImageFacts, ImageRecord, Submission, SubmissionState
from anchore_admission.core.modes import MODES, Needs
from anchore_admission.core.reference import ImageReference
from anchore_admission.core.rules import Rule
from anchore_admission.core.submission import analysis_request, check_tag, lookup_tags, newest
from anchore_admission.errors import EvaluationError
from anchore_admission.ports import Anchore, AnchoreAccounts, Deadline
from anchore_admission.services.analysis import AnalysisRequests

logger = logging.getLogger("anchore_admission.evaluation")

_REPEATED_STATES = frozenset({AnalysisState.UNKNOWN, AnalysisState.FAILED})
"""States that no waiting changes: Anchore has to be asked (again)."""


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
    def about(cls, reference: ImageReference, rule: Rule) -> "Question":
        needs = MODES[rule.mode].needs
        return cls(
            repository=reference.repository,
            tag=reference.tag,
            digest=reference.digest,
            account=rule.account,
            policy=rule.policy if needs.evaluation else None,
            needs=needs,
            request_analysis=rule.request_analysis,
        )


class Evaluation:
    """Gathers facts for many images at once, at most ``concurrency`` in flight in all reviews together.

    ``passive_wait`` is how many seconds passive mode waits for the answer to a submission.
    """

    def __init__(
        self, accounts: AnchoreAccounts, requests: AnalysisRequests, *, concurrency: int, passive_wait: float
    ) -> None:
        self._accounts = accounts
        self._requests = requests
        self._slots = asyncio.Semaphore(concurrency)
        self._passive_wait = passive_wait

    async def facts(
        self, questions: dict[Question, ImageReference], deadline: Deadline, *, side_effects: bool
    ) -> dict[Question, ImageFacts]:
        """Every question gets its facts, with an error in them where something could not be learnt in time.

        Without ``side_effects`` (a dry run, a review by hand) Anchore is asked for no analysis.
        """
        open_questions = [q for q in questions if q.needs != Needs()]
        found = await asyncio.gather(
            *(self._facts(q, questions[q], deadline, side_effects=side_effects) for q in open_questions)
        )
        return {**dict.fromkeys(questions, ImageFacts()), **dict(zip(open_questions, found, strict=True))}

    async def _facts(
        self, question: Question, reference: ImageReference, deadline: Deadline, *, side_effects: bool
    ) -> ImageFacts:
        if question.needs.submission:
            return ImageFacts(
                submission=await self._submission(question, reference, deadline, side_effects=side_effects)
            )
        facts = await self._look_up(question, reference, deadline)
        return replace(facts, submission=self._ask(question, reference, facts, side_effects=side_effects))

    async def _look_up(self, question: Question, reference: ImageReference, deadline: Deadline) -> ImageFacts:
        """A late or failed check still leaves the record that was found."""
        record: ImageRecord | None = None
        try:
            async with deadline.bound(), self._slots:
                anchore = self._accounts[question.account]
                record = await self._record(anchore, question, reference, deadline)
                if not question.needs.evaluation or record is None or record.state is not AnalysisState.ANALYZED:
                    return ImageFacts(record)
                tag = check_tag(record, reference)
                answer = await anchore.check(record.digest, tag, question.policy, deadline)
        except EvaluationError as error:
            return ImageFacts(record, error=error)
        except Exception:
            logger.exception("looking up %s failed unexpectedly", reference.repository)
            return ImageFacts(record, error=EvaluationError("an unexpected error, see the controller's log"))
        if isinstance(answer, AnalysisState):
            return ImageFacts(None if answer is AnalysisState.UNKNOWN else replace(record, state=answer))
        return ImageFacts(record, evaluation=answer)

    async def _record(
        self, anchore: Anchore, question: Question, reference: ImageReference, deadline: Deadline
    ) -> ImageRecord | None:
        digest = reference.digest or self._requests.resolved(question.account, analysis_request(reference))
        if digest:
            return await anchore.by_digest(digest, deadline)
        names = lookup_tags(reference)
        if len(names) == 1:
            return await anchore.by_tag(names[0], deadline)
        records = await asyncio.gather(*(anchore.by_tag(name, deadline) for name in names))
        return newest([record for record in records if record], reference)

    def _ask(
        self, question: Question, reference: ImageReference, facts: ImageFacts, *, side_effects: bool
    ) -> Submission:
        """Ask for an analysis that is missing, and now and then where the tag points to now; never wait."""
        if not question.request_analysis:
            return Submission()
        needed = facts.error is None and facts.state in _REPEATED_STATES
        if not needed and (reference.digest or facts.error):
            return Submission()
        if not side_effects:
            return Submission(SubmissionState.DRY_RUN)
        return self._requests.ask(question.account, analysis_request(reference), needed=needed)

    async def _submission(
        self, question: Question, reference: ImageReference, deadline: Deadline, *, side_effects: bool
    ) -> Submission:
        if not question.request_analysis:
            return Submission()
        if not side_effects:
            return Submission(SubmissionState.DRY_RUN)
        seconds = min(self._passive_wait, deadline.left())
        return await self._requests.ask_and_wait(question.account, analysis_request(reference), seconds)
