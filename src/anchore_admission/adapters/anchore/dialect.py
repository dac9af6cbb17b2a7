"""The port ``Anchore`` in the words of any API version: the calls are the same, the words differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anchore_admission.adapters.anchore.answers import Answer
from anchore_admission.adapters.anchore.evaluations import not_evaluated
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
from anchore_admission.core.submission import AnalysisRequest
from anchore_admission.ports import Deadline


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names of one API version's parameters and fields, and how its good answers are read.

    ``listed`` reads a look-up by tag, ``held`` an answer about one image. ``evaluation`` is given the answer, the full
    tag and the policy that were asked for. All raise AnchoreReplyInvalid.
    """

    version: str
    full_tag: str
    policy: str
    pull_string: str
    listed: Callable[[Answer], Sequence[ImageRow]]
    held: Callable[[Answer], Sequence[ImageRow]]
    evaluation: Callable[[Answer, str, str | None], PolicyEvaluation]


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
        def read(answer: Answer) -> PolicyEvaluation | AnalysisState:
            good = answer.good
            return self._dialect.evaluation(answer, full_tag, policy) if good else not_evaluated(answer, policy)

        query = {"tag": lookup_tag(full_tag), "interactive": "true", "detail": "true"}
        if policy is not None:
            query[self._dialect.policy] = policy
        return await self._http.call(Call("check", (*self._images, digest, "check"), query), deadline, read)

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        def read(answer: Answer) -> ImageRecord:
            if not answer.good:
                raise refusal(answer)
            return submitted(self._dialect.held(answer), request)

        body = submission_body(request, self._dialect.pull_string)
        return await self._http.call(Call("submit", self._images, body=body), deadline, read)


def _rows(answer: Answer, read: Callable[[Answer], Sequence[ImageRow]]) -> Sequence[ImageRow]:
    if not answer.good:
        expect_absent(answer)
        return ()
    return read(answer)
