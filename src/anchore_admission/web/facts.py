"""The facts that other policy engines ask for: POST /facts, and /facts/gatekeeper in Gatekeeper's own words."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from anchore_admission.errors import (
    BodyTimeout,
    MalformedReview,
    MethodNotAllowed,
    NotServed,
    Overloaded,
    ReviewError,
    ReviewTooLarge,
)
from anchore_admission.models.image_report import ImageReport
from anchore_admission.models.provider import (
    API_VERSION,
    MOST_IMAGES,
    PROVIDER_PATH,
    REQUEST_KIND,
    Answer,
    ImagesRequest,
    ImagesResponse,
    Item,
    ProviderRequest,
    ProviderResponse,
)
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.telemetry import Engine, FactsOutcome, FactsRecorder
from anchore_admission.services.reviews.reporting import ImageReports, Reported, most_findings
from anchore_admission.text import shown
from anchore_admission.web.bodies import Bodies
from anchore_admission.web.body import Disconnected, expect_json, media_type, send_error, send_json, send_json_in_parts
from anchore_admission.web.facts_openapi import facts_document

FACTS: Final = "/facts"
GATEKEEPER: Final = PROVIDER_PATH
DOCUMENT: Final = "/openapi.json"
SECONDS: Final = 1.8
"""The time for an answer: Gatekeeper advises providers to answer within 1 to 2 seconds."""
DEADLINE: Final = "facts.deadline"
"""The member of a scope with the deadline that a guard has begun."""
BODY_LIMIT: Final = 1024 * 1024
ANSWER_LIMIT: Final = 1_900_000
"""Bytes of an answer; Kyverno reads 2,000,000 (``--maxAPICallResponseLength``)."""
ROOM: Final = 8 * BODY_LIMIT
"""Bytes for all bodies at once, apart from those of admission."""
_AT_ONCE: Final = 16
_PROBLEM_LIMIT: Final = 500
_LISTED: Final = 10

_encode = msgspec.json.encode
_read_images = msgspec.json.Decoder(ImagesRequest).decode
_read_provider = msgspec.json.Decoder(ProviderRequest).decode
ReadT = TypeVar("ReadT")
_Sent = tuple[FactsOutcome, bytes]


def engine_of(scope: Scope) -> Engine:
    """Return the engine whose words a request is in, by its path."""
    path: str = scope["path"]
    return Engine.GATEKEEPER if path == GATEKEEPER or path.startswith(f"{GATEKEEPER}/") else Engine.OTHER


async def refuse(scope: Scope, send: Send, error: ReviewError, *, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send an error in the words of the engine.

    Gatekeeper takes any JSON object for an answer: one without items and system error would look like success.
    """
    if engine_of(scope) is Engine.GATEKEEPER:
        response = ProviderResponse(Answer(system_error=str(error)))
        if isinstance(error, MethodNotAllowed):
            more = [*more, (b"allow", error.allowed.encode())]
        close = isinstance(error, ReviewTooLarge | BodyTimeout)  # as ``send_error`` does
        await send_json(send, error.status, _encode(response), close=close, more=more)
    else:
        await send_error(send, error, more=more)


@dataclass(frozen=True, slots=True)
class FactsEndpoint:
    """An ASGI application for callers that may know the facts."""

    reports: ImageReports
    recorder: FactsRecorder
    bodies: Bodies = field(default_factory=lambda: Bodies(ROOM))
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    seconds: float = SECONDS
    clock: Clock = time.monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        engine = engine_of(scope)
        deadline: Deadline = scope.get(DEADLINE) or Deadline.after(self.seconds, self.clock)
        try:
            if scope["path"] == DOCUMENT:
                await self._describe(scope, send)
                return
            if scope["path"] != FACTS and engine is Engine.OTHER:
                raise NotServed(
                    f"path not found; this port serves POST {FACTS}, POST {GATEKEEPER}[/<rule>] and GET {DOCUMENT}"
                )
            if scope["method"] != "POST":
                raise MethodNotAllowed("POST")
            if media_type(scope):  # not every client names one
                expect_json(scope)
            async with self.bodies.read(scope, receive, await receive(), BODY_LIMIT, deadline.left() / 2) as received:
                if received.missing:
                    raise received.error()
                await self._answer(engine, scope, bytes(received.content), deadline, send)
        except Disconnected:
            return
        except ReviewError as error:
            outcome = FactsOutcome.TOO_MANY if isinstance(error, Overloaded | BodyTimeout) else FactsOutcome.INVALID
            self.recorder.facts_request(engine, outcome)
            await refuse(scope, send, error)

    async def _describe(self, scope: Scope, send: Send) -> None:
        if scope["method"] != "GET":
            raise MethodNotAllowed("GET")
        self.recorder.facts_request(Engine.OTHER, FactsOutcome.ANSWERED)
        await send_json_in_parts(send, 200, _encode(facts_document()))

    async def _answer(self, engine: Engine, scope: Scope, content: bytes, deadline: Deadline, send: Send) -> None:
        """Answer with few others at once, because a large answer takes memory until its client has read it."""
        try:
            async with asyncio.timeout(deadline.left()):
                await self.turns.acquire()
        except TimeoutError as error:
            raise Overloaded("too many questions about facts at the moment; ask again") from error
        try:
            if engine is Engine.GATEKEEPER:
                outcome, answer = await self._for_gatekeeper(scope["path"], content, deadline)
            else:
                outcome, answer = await self._for_others(content, deadline)
            self.recorder.facts_request(engine, outcome)
            await send_json_in_parts(send, 200, answer)
        finally:
            self.turns.release()

    async def _for_others(self, content: bytes, deadline: Deadline) -> _Sent:
        asked = _read(_read_images, content, 'such as {"images": ["nginx:1.25"]}')
        _require_images(asked.images)
        found = await self.reports.about(asked.images, self.reports.rule(asked.rule), deadline)

        def answer(reports: Mapping[str, ImageReport]) -> ImagesResponse:
            return ImagesResponse([reports[text] for text in asked.images])

        return FactsOutcome.ANSWERED, await self._fitting(found, answer)

    async def _for_gatekeeper(self, path: str, content: bytes, deadline: Deadline) -> _Sent:
        asked = _read(_read_provider, content, f"a {REQUEST_KIND}")
        if (asked.api_version, asked.kind) != (API_VERSION, REQUEST_KIND):
            given = shown(f"{asked.kind or 'no kind'} of {asked.api_version or 'no apiVersion'}", 100)
            raise MalformedReview(f"expected a {REQUEST_KIND} of {API_VERSION}, not {given}")
        keys = (asked.request.keys if asked.request else None) or []
        if keys:
            _require_images(keys)
        # Without a rule, there is no slash either: an empty name is probably a mistake, and is none of a rule.
        rule = self.reports.rule(None if path == GATEKEEPER else path.removeprefix(f"{GATEKEEPER}/"))
        found = await self.reports.about(keys, rule, deadline)
        if passing := [each for each in found.values() if not each.is_final]:
            return FactsOutcome.NOT_YET, _encode(ProviderResponse(Answer(system_error=_not_yet(passing, len(found)))))

        def answer(reports: Mapping[str, ImageReport]) -> ProviderResponse:
            # One for each key, even a repeated one: policies compare the numbers.
            return ProviderResponse(Answer(items=tuple(_item(key, found[key], reports[key]) for key in keys)))

        return FactsOutcome.ANSWERED, await self._fitting(found, answer)

    async def _fitting(
        self, found: Mapping[str, Reported], answer: Callable[[Mapping[str, ImageReport]], object]
    ) -> bytes:
        """Encode an answer with as many findings as fit."""
        most = most_findings(len(found))
        while True:
            content = _encode(answer(await self.reports.written(found, most)))
            if len(content) <= ANSWER_LIMIT or not most:
                return content
            most //= 2


def _read(read: Callable[[bytes], ReadT], content: bytes, expected: str) -> ReadT:
    try:
        return read(content)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedReview(f"the body is not readable: {shown(str(error), 200)}; expected {expected}") from error


def _require_images(images: Sequence[str]) -> None:
    if not images:
        raise MalformedReview("the list of images is empty")
    if len(images) > MOST_IMAGES:
        raise MalformedReview(f"more than {MOST_IMAGES} images; ask about fewer at once")


def _item(key: str, found: Reported, report: ImageReport) -> Item:
    return Item(key, error=shown(found.problem, _PROBLEM_LIMIT)) if found.problem else Item(key, value=report)


def _not_yet(passing: Sequence[Reported], images: int) -> str:
    """Say for which images there are no facts yet, and why."""
    problems = "; ".join(shown(each.problem, _PROBLEM_LIMIT) for each in passing[:_LISTED])
    more = f"; and {len(passing) - _LISTED} more" if len(passing) > _LISTED else ""
    return f"no facts yet about {len(passing)} of {images} images: {problems}{more}"
