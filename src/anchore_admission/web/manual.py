"""POST /review: reviews by hand for people, without side effects."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from anchore_admission.documents.objects import DEFAULT_NAMESPACE, Requester, is_namespace
from anchore_admission.documents.reader import load_documents
from anchore_admission.errors import DocumentError, MalformedReview, Overloaded, ReviewError, UnsupportedMediaType
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.manual import ManualReviews
from anchore_admission.services.reviews.summary import Summary
from anchore_admission.text import shown
from anchore_admission.web.bodies import Bodies, Received
from anchore_admission.web.body import Disconnected, content_type, media_type, send_error, send_json
from anchore_admission.web.manual_document import as_document

BODY_LIMIT = 1024 * 1024
SECONDS = 8.0
"""The time for a whole review by hand: a person waits."""
_OBJECTS = 1000
_AT_ONCE = 2
_PARAMETERS = ("namespace", "user", "explain")
_EXPLAIN = {"": False, "false": False, "true": True}
_PASSED_OVER = 50
"""The rules that an explanation lists: there may be thousands of rules, and of images."""
_NAME_LIMIT = 253
_MEDIA_TYPES = frozenset({b"application/json", b"application/yaml", b"application/x-yaml", b"text/yaml", b"text/plain"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """The query: who the objects are from, and whether to explain the rules."""

    requester: Requester
    explain: bool


@dataclass(frozen=True, slots=True)
class ManualEndpoint:
    """An ASGI application for one route. It parses in a thread, since a large body may take long."""

    reviews: ManualReviews
    bodies: Bodies = field(default_factory=Bodies)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if media_type(scope) not in _MEDIA_TYPES:
                raise UnsupportedMediaType(
                    f"{content_type(scope)}: send it with the header 'Content-Type: application/yaml', "
                    "or application/json"
                )
            asked = _asked(scope)
            deadline = Deadline.after(SECONDS)
            async with self.bodies.read(scope, receive, await receive(), BODY_LIMIT, SECONDS / 2) as received:
                if received.missing:
                    raise received.error()
                answer = await self._in_turn(received, asked, deadline)
        except Disconnected:
            return
        except ReviewError as error:
            await send_error(send, error)
            return
        await send_json(send, 200, answer)

    async def _in_turn(self, received: Received, asked: _Asked, deadline: Deadline) -> bytes:
        """Review with few others at once: parsing takes memory, and reviews by hand must not slow down admission."""
        try:
            async with asyncio.timeout(deadline.left()):
                await self.turns.acquire()
        except TimeoutError as error:
            raise Overloaded("too many reviews by hand at the moment; try again") from error
        try:
            documents = await asyncio.to_thread(_parsed, bytes(received.content))
            return to_json(as_document(await self._review(documents, asked, deadline)))
        finally:
            self.turns.release()

    async def _review(self, documents: list[Any], asked: _Asked, deadline: Deadline) -> Summary:
        reviews = self.reviews.explaining(_PASSED_OVER) if asked.explain else self.reviews
        images = _images(documents)
        if images is not None:
            return await reviews.images(images, asked.requester, deadline.left())
        return await reviews.objects(documents, asked.requester, deadline.left(), most=_OBJECTS)


def _parsed(body: bytes) -> list[Any]:
    try:
        documents = load_documents(body, source="body", aliases=False)
    except DocumentError as error:
        raise MalformedReview(str(error)) from error
    if not documents:
        raise MalformedReview("the body is empty: send a Kubernetes object or a list of images")
    if len(documents) > _OBJECTS:
        raise MalformedReview(f"more than {_OBJECTS} objects")
    return documents


def _images(documents: list[Any]) -> list[str] | None:
    """Return the images if the body is a list of them, None if it holds objects."""
    if len(documents) != 1 or not isinstance(documents[0], list):
        return None
    images = documents[0]
    if not images or not all(isinstance(image, str) for image in images):
        raise MalformedReview("a list must be one of images, such as [ubuntu, nginx:1.25]")
    if len(images) > _OBJECTS:
        raise MalformedReview(f"more than {_OBJECTS} images")
    return images


def _asked(scope: Scope) -> _Asked:
    """Read the query. Raises MalformedReview for a parameter that would have no effect."""
    query = Request(scope).query_params
    for name in query:
        if name not in _PARAMETERS:
            known = f"{', '.join(_PARAMETERS[:-1])} or {_PARAMETERS[-1]}"
            raise MalformedReview(f"unknown query parameter {shown(name, _NAME_LIMIT)}; expected {known}")
        if len(query.getlist(name)) > 1:
            raise MalformedReview(f"the query parameter {name} is given more than once")
    namespace = query.get("namespace") or DEFAULT_NAMESPACE
    if not is_namespace(namespace):
        raise MalformedReview("namespace: expected a name of lower-case letters, digits and '-', at most 63")
    explain = _EXPLAIN.get(query.get("explain", ""))
    if explain is None:
        raise MalformedReview("explain: expected true or false")
    return _Asked(Requester(namespace=namespace, user=shown(query.get("user") or "", _NAME_LIMIT)), explain)
