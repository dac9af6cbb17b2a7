"""POST /review: reviews by hand for people, without side effects."""

import asyncio
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from anchore_admission.core.messages import shown
from anchore_admission.errors import DocumentError, MalformedReview, ReviewError, UnsupportedMediaType
from anchore_admission.services.documents import load_documents
from anchore_admission.services.manual import DEFAULT_NAMESPACE, Asker, ManualReviews, Summary, as_document
from anchore_admission.web.body import Disconnected, media_type, read_body, send_error, send_json

BODY_LIMIT = 1024 * 1024
SECONDS = 8.0
"""For a whole review by hand; a person waits."""
_OBJECTS = 1000
_NAME_LIMIT = 253
_MEDIA_TYPES = frozenset({b"application/json", b"application/yaml", b"application/x-yaml", b"text/yaml", b"text/plain"})


@dataclass(frozen=True, slots=True)
class ManualEndpoint:
    """An ASGI application for one route; parsing, which may take long for a large body, happens off the loop."""

    reviews: ManualReviews

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if media_type(scope) not in _MEDIA_TYPES:
                raise UnsupportedMediaType("the content type must be application/json or application/yaml")
            body = await read_body(receive, BODY_LIMIT)
            documents = await asyncio.to_thread(_parsed, body)
            summary = await self._review(documents, _asker(scope))
        except Disconnected:
            return
        except ReviewError as error:
            await send_error(send, error)
            return
        await send_json(send, 200, to_json(as_document(summary)))

    async def _review(self, documents: list[Any], asker: Asker) -> Summary:
        images = _images(documents)
        if images is not None:
            return await self.reviews.images(images, asker, SECONDS)
        return await self.reviews.objects(documents, asker, SECONDS)


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
    """The images when the body is a list of them, None when it holds objects."""
    if len(documents) != 1 or not isinstance(documents[0], list):
        return None
    images = documents[0]
    if not images or not all(isinstance(image, str) for image in images):
        raise MalformedReview("a list must be one of images, such as [ubuntu, nginx:1.25]")
    if len(images) > _OBJECTS:
        raise MalformedReview(f"more than {_OBJECTS} images")
    return images


def _asker(scope: Scope) -> Asker:
    query = Request(scope).query_params
    namespace = shown(query.get("namespace") or DEFAULT_NAMESPACE, _NAME_LIMIT)
    return Asker(namespace=namespace, user=shown(query.get("user") or "", _NAME_LIMIT))
