"""The port ``Anchore`` over either API version: the calls are the same, the names of parameters and fields differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from anchore_admission.adapters.anchore.check_refusals import Unclear, not_evaluated, still_unclear
from anchore_admission.adapters.anchore.evaluations import (
    CheckRequest,
    Evaluated,
    another_image,
)
from anchore_admission.adapters.anchore.events import LARGEST_PAGE, PAGES, EventPage, merged, newest_of
from anchore_admission.adapters.anchore.http import AnchoreHttp, Call
from anchore_admission.adapters.anchore.policies import LARGEST_LIST, PolicyRow, policy_versions
from anchore_admission.adapters.anchore.records import (
    ImageRow,
    expect_absent,
    lookup_tag,
    newest_with_tag,
    with_digest,
)
from anchore_admission.adapters.anchore.responses import AnchoreResponse, bad_request
from anchore_admission.adapters.anchore.submissions import refusal, submission_body, submitted
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation, PolicyVersion
from anchore_admission.core.hints import Events
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreResponseTooLarge
from anchore_admission.ports.anchore import Identity
from anchore_admission.ports.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API version: the names of its parameters, and functions that read its successful responses.

    ``listed`` reads a look-up by tag, ``held`` a response about one image, ``evaluation`` the response to a check,
    ``policies`` the list of policies, ``events`` a page of events. All raise AnchoreResponseInvalid.
    ``event_prefix`` ends a filter by the beginning of an event's type.
    """

    version: str
    full_tag: str
    policy: str
    pull_string: str
    subscribe: str
    listed: Callable[[AnchoreResponse], Sequence[ImageRow]]
    held: Callable[[AnchoreResponse], Sequence[ImageRow]]
    evaluation: Callable[[AnchoreResponse, CheckRequest], Evaluated]
    policies: Callable[[AnchoreResponse], Sequence[PolicyRow]]
    event_prefix: str
    events: Callable[[AnchoreResponse], EventPage]


class AnchoreApi:
    """One account over one API version."""

    def __init__(self, http: AnchoreHttp, dialect: Dialect, *, keeps_warnings: bool = False) -> None:
        self._http = http
        self._dialect = dialect
        self._keeps_warnings = keeps_warnings
        self._images = (dialect.version, "images")

    @property
    def identity(self) -> Identity:
        return self._http.identity

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        def read(response: AnchoreResponse) -> ImageRecord | None:
            return newest_with_tag(_rows(response, self._dialect.listed), full_tag)

        # No filter by state: v1 would skip a newer image that is not analyzed, and return an older one of the tag.
        query = {self._dialect.full_tag: lookup_tag(full_tag)}
        return await self._http.call(Call("by_tag", self._images, query), deadline, read)

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:
        def read(response: AnchoreResponse) -> ImageRecord | None:
            return with_digest(_rows(response, self._dialect.held), digest)

        return await self._http.call(Call("by_digest", (*self._images, digest)), deadline, read)

    async def check(
        self, digest: str, full_tag: str, policy: str | None, deadline: Deadline
    ) -> PolicyEvaluation | AnalysisState:
        request = CheckRequest(digest, full_tag, policy, keeps_warnings=self._keeps_warnings)
        try:
            result = await self._evaluate(request, deadline)
        except AnchoreResponseTooLarge:
            # The author of an image decides how many findings it has, and must not evade a verdict by their number.
            result = await self._evaluate(replace(request, detail=False), deadline)
        match result:
            case Evaluated():
                await self._expect_same_image(digest, result.digest, deadline)
                return result.evaluation
            case Unclear():
                record = await self.by_digest(digest, deadline)
                if record is not None and record.state is AnalysisState.ANALYZED:
                    raise still_unclear(result)
                return record.state if record else AnalysisState.UNKNOWN
            case state:
                return state

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        def read(response: AnchoreResponse) -> ImageRecord:
            if not response.is_success:
                raise refusal(response)
            return submitted(self._dialect.held(response), request)

        # Set explicitly: the specifications name no default, and a subscription makes Anchore poll the registry.
        query = {self._dialect.subscribe: "false"}
        body = submission_body(request, self._dialect.pull_string)
        return await self._http.call(Call("submit", self._images, query, body=body), deadline, read)

    async def policies(self, deadline: Deadline) -> tuple[PolicyVersion, ...]:
        def read(response: AnchoreResponse) -> tuple[PolicyVersion, ...]:
            if not response.is_success:
                raise bad_request(response)
            return policy_versions(self._dialect.policies(response))

        # Without ``detail``, Anchore leaves out the rules, which may take megabytes.
        call = Call("policies", (self._dialect.version, "policies"), limit=LARGEST_LIST)
        return await self._http.call(call, deadline, read)

    async def events(self, since: str, deadline: Deadline) -> Events:
        pages = [await self._event_page(family, limit, since, deadline) for family, limit in PAGES.items()]
        return merged(pages, since)

    async def _event_page(self, family: str, limit: int, since: str, deadline: Deadline) -> Events:
        try:
            return await self._newest_events(family, limit, since, deadline)
        except AnchoreResponseTooLarge:
            # The newest event alone tells the time from which to ask again.
            newest = await self._newest_events(family, 1, since, deadline)
            return replace(newest, more=True)

    async def _newest_events(self, family: str, limit: int, since: str, deadline: Deadline) -> Events:
        def read(response: AnchoreResponse) -> Events:
            if not response.is_success:
                raise bad_request(response)
            return newest_of(self._dialect.events(response), family, limit)

        # Only the first page: the others shift while new events arrive.
        query = {"event_type": f"{family}{self._dialect.event_prefix}", "page": "1", "limit": str(limit)}
        if since:
            query["since"] = since
        path = (self._dialect.version, "events")
        return await self._http.call(Call("events", path, query, limit=LARGEST_PAGE, quiet=True), deadline, read)

    async def _evaluate(self, check: CheckRequest, deadline: Deadline) -> Evaluated | AnalysisState | Unclear:
        def read(response: AnchoreResponse) -> Evaluated | AnalysisState | Unclear:
            if not response.is_success:
                return not_evaluated(response, check.policy)
            return self._dialect.evaluation(response, check)

        detail = "true" if check.detail else "false"
        # ``interactive``: v1 then neither stores the evaluation nor notifies subscribers about a changed result.
        query = {"tag": lookup_tag(check.full_tag), "interactive": "true", "detail": detail}
        if check.policy is not None:
            query[self._dialect.policy] = check.policy
        return await self._http.call(Call("check", (*self._images, check.digest, "check"), query), deadline, read)

    async def _expect_same_image(self, requested: str, evaluated: str, deadline: Deadline) -> None:
        """Require an evaluation of the requested image, by its own digest or that of its manifest list.

        Raises EvaluationError.
        """
        if not evaluated or evaluated == requested:
            return
        record = await self.by_digest(requested, deadline)
        if record is None or evaluated not in {record.digest, record.parent_digest}:
            raise another_image()


def _rows(response: AnchoreResponse, read: Callable[[AnchoreResponse], Sequence[ImageRow]]) -> Sequence[ImageRow]:
    if not response.is_success:
        expect_absent(response)
        return ()
    return read(response)
