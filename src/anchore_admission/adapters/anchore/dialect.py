"""The port ``Anchore`` in the words of any API version: the calls are the same, the words differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anchore_admission.adapters.anchore.answers import Answer, AnswerTooLarge
from anchore_admission.adapters.anchore.evaluations import (
    Evaluated,
    Question,
    Unclear,
    another_image,
    not_evaluated,
    still_unclear,
)
from anchore_admission.adapters.anchore.http import AnchoreHttp, Call
from anchore_admission.adapters.anchore.records import (
    ImageRow,
    expect_absent,
    lookup_tag,
    newest_with_tag,
    with_digest,
)
from anchore_admission.adapters.anchore.submissions import refusal, submission_body, submitted
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.ports.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names of one API version's parameters and fields, and how its good answers are read.

    ``listed`` reads a look-up by tag, ``held`` an answer about one image, ``evaluation`` an answer to a question.
    All raise AnchoreReplyInvalid.
    """

    version: str
    full_tag: str
    policy: str
    pull_string: str
    subscribe: str
    listed: Callable[[Answer], Sequence[ImageRow]]
    held: Callable[[Answer], Sequence[ImageRow]]
    evaluation: Callable[[Answer, Question], Evaluated]


class AnchoreApi:
    """One account, spoken to in one dialect."""

    def __init__(self, http: AnchoreHttp, dialect: Dialect) -> None:
        self._http = http
        self._dialect = dialect
        self._images = (dialect.version, "images")

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        def read(answer: Answer) -> ImageRecord | None:
            return newest_with_tag(_rows(answer, self._dialect.listed), full_tag)

        query = {self._dialect.full_tag: lookup_tag(full_tag)}
        return await self._http.call(Call("by_tag", self._images, query), deadline, read)

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:
        def read(answer: Answer) -> ImageRecord | None:
            return with_digest(_rows(answer, self._dialect.held), digest)

        return await self._http.call(Call("by_digest", (*self._images, digest)), deadline, read)

    async def check(
        self, digest: str, full_tag: str, policy: str | None, deadline: Deadline
    ) -> PolicyEvaluation | AnalysisState:
        try:
            answer = await self._evaluate(Question(digest, full_tag, policy), deadline)
        except AnswerTooLarge:
            # The author of an image decides how many findings it has, and must not be able to avoid the verdict.
            answer = await self._evaluate(Question(digest, full_tag, policy, detail=False), deadline)
        match answer:
            case Evaluated():
                await self._expect_same_image(digest, answer.digest, deadline)
                return answer.evaluation
            case Unclear():
                record = await self.by_digest(digest, deadline)
                if record is not None and record.state is AnalysisState.ANALYZED:
                    raise still_unclear(answer)
                return record.state if record else AnalysisState.UNKNOWN
            case state:
                return state

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        def read(answer: Answer) -> ImageRecord:
            if not answer.good:
                raise refusal(answer)
            return submitted(self._dialect.held(answer), request)

        # Said explicitly: the specifications name no default, and a subscription makes Anchore poll the registry.
        query = {self._dialect.subscribe: "false"}
        body = submission_body(request, self._dialect.pull_string)
        return await self._http.call(Call("submit", self._images, query, body=body), deadline, read)

    async def _evaluate(self, asked: Question, deadline: Deadline) -> Evaluated | AnalysisState | Unclear:
        def read(answer: Answer) -> Evaluated | AnalysisState | Unclear:
            return self._dialect.evaluation(answer, asked) if answer.good else not_evaluated(answer, asked.policy)

        detail = "true" if asked.detail else "false"
        query = {"tag": lookup_tag(asked.full_tag), "interactive": "true", "detail": detail}
        if asked.policy is not None:
            query[self._dialect.policy] = asked.policy
        return await self._http.call(Call("check", (*self._images, asked.digest, "check"), query), deadline, read)

    async def _expect_same_image(self, asked: str, evaluated: str, deadline: Deadline) -> None:
        """Require an evaluation of the image that was asked for, by its own digest or that of its manifest list.

        Raises EvaluationError.
        """
        if not evaluated or evaluated == asked:
            return
        record = await self.by_digest(asked, deadline)
        if record is None or evaluated not in {record.digest, record.parent_digest}:
            raise another_image()


def _rows(answer: Answer, read: Callable[[Answer], Sequence[ImageRow]]) -> Sequence[ImageRow]:
    if not answer.good:
        expect_absent(answer)
        return ()
    return read(answer)
