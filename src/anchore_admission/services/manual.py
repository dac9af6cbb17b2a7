"""Reviews by hand: bare objects or lists of images, one verdict per image, no side effects."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from anchore_admission.core import messages, workload
from anchore_admission.core.verdict import Decision, Effect, ImageVerdict, ReviewVerdict
from anchore_admission.errors import MalformedReview
from anchore_admission.models.review import AdmissionRequest, GroupVersionKind, UserInfo, read_workload
from anchore_admission.models.workload import Container, Metadata, Workload, WorkloadSpec
from anchore_admission.ports import Deadline, Origin
from anchore_admission.services.objects import DEFAULT_NAMESPACE, Asker, asked_about, kind_of, name_of, opened
from anchore_admission.services.review import Reviews

__all__ = ["DEFAULT_NAMESPACE", "Asker", "Document", "ManualReview", "ManualReviews", "Summary", "as_document"]

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Document:
    """One document to review, or why it cannot be read; ``source`` says where it stands."""

    value: Any = None
    source: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ManualReview:
    """One object's review. ``verdict`` is None for an object that holds no images, ``error`` says it is unreadable."""

    kind: str
    namespace: str
    name: str
    verdict: ReviewVerdict | None = None
    error: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What many reviews come to."""

    reviews: tuple[ManualReview, ...]

    @property
    def denied(self) -> bool:
        """Whether anything would be refused for what is known about it."""
        if any(i.verdict.decision is Decision.DENY and i.effect is Effect.DENY for i in self.images):
            return True
        whole = [r.verdict for r in self.reviews if r.verdict and not r.verdict.images]
        return any(verdict.decision is Decision.DENY and not verdict.allowed for verdict in whole)

    @property
    def undecided(self) -> bool:
        """Whether anything could not be told or read, whatever ``onError`` makes of it."""
        if any(image.verdict.decision is Decision.NO_VERDICT for image in self.images):
            return True
        return any(r.error or (r.verdict and r.verdict.decision is Decision.NO_VERDICT) for r in self.reviews)

    @property
    def images(self) -> list[ImageVerdict]:
        return [image for review in self.reviews if review.verdict for image in review.verdict.images]

    @property
    def others(self) -> int:
        """How many objects hold no images."""
        return sum(1 for review in self.reviews if not review.verdict and not review.error)

    @property
    def unread(self) -> int:
        """How many objects could not be read."""
        return sum(1 for review in self.reviews if review.error)


Progress = Callable[[int, int], None]
"""Told how many of how many reviews have ended."""


def _no_progress(_ended: int, _all: int) -> None:
    """For whoever does not look."""


class ManualReviews:
    """The same path as a live review, for people and pipelines."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews

    async def objects(self, documents: Sequence[Any], asker: Asker, seconds: float) -> Summary:
        """Review parsed objects; Lists are opened. ``seconds`` bound each object's review."""
        return await self.documents([Document(value) for value in documents], asker, seconds)

    async def documents(
        self, documents: Sequence[Document], asker: Asker, seconds: float, progress: Progress = _no_progress
    ) -> Summary:
        """Review what stands in files; what cannot be read is told beside the rest."""
        found = [replace(document, value=item) for document in documents for item in opened(document.value)]
        return await _gathered([partial(self._document, item, asker, seconds) for item in found], progress)

    async def each_image(
        self, images: Sequence[str], asker: Asker, seconds: float, progress: Progress = _no_progress
    ) -> Summary:
        """Review images one by one, so that ``seconds`` bound each."""
        return await _gathered([partial(self._images, [image], asker, seconds) for image in images], progress)

    async def images(self, images: Sequence[str], asker: Asker, seconds: float) -> Summary:
        """Review images as if one Pod named them all."""
        return Summary((await self._images(images, asker, seconds),))

    async def object(self, value: Any, asker: Asker, seconds: float) -> ManualReview:
        """Review one bare Kubernetes object, or the one that an AdmissionReview is about."""
        try:
            value, asker = asked_about(value, asker)
        except MalformedReview as error:
            return ManualReview("AdmissionReview", asker.namespace, "", error=str(error))
        kind = kind_of(value)
        if kind is None:
            return ManualReview("", asker.namespace, "", error="not a Kubernetes object: it has no apiVersion and kind")
        if not workload.is_known(kind):
            return ManualReview(kind.kind, asker.namespace, name_of(value))
        try:
            return await self._review(read_workload(value), kind, asker, seconds)
        except MalformedReview as error:
            return ManualReview(kind.kind, asker.namespace, name_of(value), error=str(error))

    async def _document(self, document: Document, asker: Asker, seconds: float) -> ManualReview:
        if document.problem:
            return ManualReview("", asker.namespace, "", error=document.problem, source=document.source)
        return replace(await self.object(document.value, asker, seconds), source=document.source)

    async def _images(self, images: Sequence[str], asker: Asker, seconds: float) -> ManualReview:
        containers = [Container(name=f"image-{number}", image=image) for number, image in enumerate(images, 1)]
        pod = Workload(kind="Pod", metadata=Metadata(name="images"), spec=WorkloadSpec(containers=containers))
        return await self._review(pod, GroupVersionKind(version="v1", kind="Pod"), asker, seconds)

    async def _review(self, value: Workload, kind: GroupVersionKind, asker: Asker, seconds: float) -> ManualReview:
        metadata = value.metadata or Metadata()
        namespace = metadata.namespace or asker.namespace
        request = AdmissionRequest(
            uid="manual",
            kind=kind,
            operation="CREATE",
            name=metadata.name,
            namespace=namespace,
            userInfo=UserInfo(username=asker.user, groups=list(asker.groups)),
            object=value,
        )
        began = time.monotonic()
        deadline = Deadline(began + seconds)
        verdict = await self._reviews.review(request, deadline, origin=Origin.MANUAL, began=began)
        return ManualReview(kind.kind, namespace, metadata.name or f"{metadata.generateName or ''}*", verdict)


async def _gathered(reviews: Sequence[Callable[[], Awaitable[ManualReview]]], progress: Progress) -> Summary:
    """A few at once; the summary keeps their order."""
    slots = asyncio.Semaphore(_AT_ONCE)
    ended = 0

    async def one(review: Callable[[], Awaitable[ManualReview]]) -> ManualReview:
        nonlocal ended
        async with slots:
            done = await review()
        ended += 1
        progress(ended, len(reviews))
        return done

    return Summary(tuple(await asyncio.gather(*map(one, reviews))))


def as_document(summary: Summary) -> dict[str, Any]:
    """What machines read: one entry per image of every object."""
    return {
        "allowed": all(r.verdict is None or r.verdict.allowed for r in summary.reviews) and not summary.unread,
        "images": [
            _image(review, image) for review in summary.reviews if review.verdict for image in review.verdict.images
        ],
        "warnings": [w for review in summary.reviews if review.verdict for w in review.verdict.warnings],
        "errors": [{**_object(review), "message": text} for review in summary.reviews if (text := whole_error(review))],
        "objects": _objects(summary),
    }


def whole_error(review: ManualReview) -> str:
    """Why there is no verdict on any image of an object; empty where there are verdicts, or nothing to judge."""
    verdict = review.verdict
    if review.error or not verdict or verdict.images or verdict.decision is Decision.ADMIT:
        return review.error
    return verdict.message or "; ".join(verdict.warnings) or "no verdict"


def _objects(summary: Summary) -> dict[str, int]:
    reviewed = len(summary.reviews) - summary.others - summary.unread
    return {"reviewed": reviewed, "withoutImages": summary.others, "unread": summary.unread}


def _image(review: ManualReview, image: ImageVerdict) -> dict[str, Any]:
    return {
        "image": image.image,
        "digest": image.digest,
        "object": _object(review),
        "places": [place.place for place in image.places],
        "rule": image.rule.name,
        "mode": image.rule.mode.value,
        "verdict": image.verdict.decision.value,
        "reason": image.verdict.reason.value,
        "effect": image.effect.value,
        "message": image.verdict.message,
        "findings": [messages.finding_line(finding) for finding in messages.worst_first(image.verdict.findings)],
    }


def _object(review: ManualReview) -> dict[str, str]:
    named = {"kind": review.kind, "namespace": review.namespace, "name": review.name}
    return {**named, "source": review.source} if review.source else named
