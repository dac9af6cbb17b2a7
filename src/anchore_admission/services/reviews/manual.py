"""Reviews by hand: bare objects or lists of images, one verdict per image, no side effects."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any

from anchore_admission.core import imageless, messages, workload
from anchore_admission.core.verdict import Decision, Effect, ImageVerdict, Reason, ReviewVerdict
from anchore_admission.documents.objects import (
    DEFAULT_NAMESPACE,
    Requester,
    asked_about,
    name_of,
    naming,
    opened,
    shows_images,
)
from anchore_admission.errors import MalformedReview
from anchore_admission.models.review import AdmissionRequest, GroupVersionKind, UserInfo, read_workload
from anchore_admission.models.workload import Container, Metadata, Workload, WorkloadSpec
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.text import shown

__all__ = ["DEFAULT_NAMESPACE", "Document", "ManualReview", "ManualReviews", "Requester", "Summary", "as_document"]

_AT_ONCE = 8
MAX_IMAGES = 2000
"""Images of one call after which no further object is reviewed."""
_KUSTOMIZE = "kustomize.config.k8s.io"


@dataclass(frozen=True, slots=True)
class Document:
    """One document to review, or why it cannot be read; ``source`` says where it stands."""

    value: Any = None
    source: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ManualReview:
    """The review of one object.

    ``verdict`` is None for an object that holds no images. ``error`` says why the object is unreadable, ``unchecked``
    why its images could not be found.
    """

    kind: str
    namespace: str
    name: str
    verdict: ReviewVerdict | None = None
    error: str = ""
    source: str = ""
    unchecked: str = ""

    @property
    def is_denied_whole(self) -> bool:
        """Return True for a denial that is about no single image: an unknown kind, an unreadable object."""
        verdict = self.verdict
        if not verdict or verdict.images or verdict.allowed:
            return False
        return verdict.decision is Decision.DENY or verdict.reason is Reason.UNKNOWN_KIND


@dataclass(frozen=True, slots=True)
class Summary:
    """The reviews of one run. ``ignores_unchecked`` lets objects of unknown kinds pass."""

    reviews: tuple[ManualReview, ...]
    ignores_unchecked: bool = False

    @property
    def denied(self) -> bool:
        """Whether anything would be refused for what is known about it."""
        if any(i.verdict.decision is Decision.DENY and i.effect is Effect.DENY for i in self.images):
            return True
        return any(review.is_denied_whole for review in self.reviews)

    @property
    def undecided(self) -> bool:
        """Whether anything could not be told or read, whatever ``onError`` makes of it."""
        if any(image.verdict.decision is Decision.NO_VERDICT for image in self.images):
            return True
        return any(
            r.error or (r.verdict and r.verdict.decision is Decision.NO_VERDICT)
            for r in self.reviews
            if not r.unchecked and not r.is_denied_whole
        )

    @property
    def unchecked(self) -> int:
        """The number of objects whose images could not be found, because their kind is not known."""
        return sum(1 for review in self.reviews if review.unchecked)

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


@dataclass(slots=True)
class _Budget:
    """What one call may take."""

    deadline: Deadline
    images: int = 0

    def spent(self) -> str:
        """Return why nothing more is reviewed in this call; empty while there is time and room."""
        if self.images >= MAX_IMAGES:
            return f"not reviewed: the objects before it name {self.images} images; send fewer at once"
        return "" if self.deadline.left() > 0 else "not reviewed: the time for this call was over; send fewer at once"


class ManualReviews:
    """The same path as a live review, for people and pipelines."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews

    async def objects(self, documents: Sequence[Any], requester: Requester, seconds: float, *, most: int) -> Summary:
        """Review at most so many objects within ``seconds`` in all; Lists are opened.

        An object that there was no time for has an error of its own. Raises MalformedReview for more objects.
        """
        found = list(islice(chain.from_iterable(map(opened, documents)), most + 1))
        if len(found) > most:
            raise MalformedReview(f"more than {most} objects, those in Lists counted; send fewer at once")
        if not found:
            return await self.documents([], requester, seconds)
        budget = _Budget(Deadline.after(seconds))
        return await _gathered([partial(self._in_budget, value, requester, budget) for value in found], _no_progress)

    async def _in_budget(self, value: Any, requester: Requester, budget: "_Budget") -> ManualReview:
        if problem := budget.spent():
            kind = value.get("kind") if isinstance(value, dict) else None
            return ManualReview(
                kind if isinstance(kind, str) else "", requester.namespace, name_of(value), error=problem
            )
        review = await self.object(value, requester, budget.deadline.left())
        budget.images += len(review.verdict.images) if review.verdict else 0
        return review

    async def documents(
        self, documents: Sequence[Document], requester: Requester, seconds: float, progress: Progress = _no_progress
    ) -> Summary:
        """Review what stands in files; what cannot be read is told beside the rest."""
        found = [replace(document, value=item) for document in documents for item in opened(document.value)]
        if not found:
            source = ", ".join(dict.fromkeys(document.source for document in documents))
            found = [Document(source=source, problem="holds nothing to review: the List is empty")]
        return await _gathered([partial(self._document, item, requester, seconds) for item in found], progress)

    async def each_image(
        self, images: Sequence[str], requester: Requester, seconds: float, progress: Progress = _no_progress
    ) -> Summary:
        """Review images one by one, so that ``seconds`` bound each."""
        return await _gathered([partial(self._images, [image], requester, seconds) for image in images], progress)

    async def images(self, images: Sequence[str], requester: Requester, seconds: float) -> Summary:
        """Review images as if one Pod named them all."""
        return Summary((await self._images(images, requester, seconds),))

    async def object(self, value: Any, requester: Requester, seconds: float) -> ManualReview:
        """Review one bare Kubernetes object, or the one that an AdmissionReview is about."""
        try:
            value, kind, requester = asked_about(value, requester)
        except MalformedReview as error:
            return ManualReview("AdmissionReview", requester.namespace, "", error=str(error))
        if kind is None:
            return ManualReview(
                "", requester.namespace, "", error="not a Kubernetes object: it has no apiVersion and kind"
            )
        if imageless.is_imageless(kind):
            return ManualReview(kind.kind, requester.namespace, name_of(value))
        if not workload.is_known(kind):
            return await self._unknown(value, kind, requester, seconds)
        try:
            return await self._review(_without_owners(read_workload(value)), kind, requester, seconds)
        except MalformedReview as error:
            return ManualReview(kind.kind, requester.namespace, name_of(value), error=str(error))

    async def _unknown(self, value: Any, kind: GroupVersionKind, requester: Requester, seconds: float) -> ManualReview:
        """Review an object of a kind that is not known: what ``unknownKinds`` denies is denied as by the webhook.

        Otherwise it was not checked, except a custom resource that shows no sign of an image.
        """
        review = await self._review(Workload(kind=kind.kind, metadata=naming(value)), kind, requester, seconds)
        if review.is_denied_whole:
            return review
        if imageless.is_custom(kind) and not shows_images(value):
            return replace(review, verdict=None)
        return replace(review, unchecked=_why_unchecked(kind))

    async def _document(self, document: Document, requester: Requester, seconds: float) -> ManualReview:
        if document.problem:
            return ManualReview("", requester.namespace, "", error=document.problem, source=document.source)
        return replace(await self.object(document.value, requester, seconds), source=document.source)

    async def _images(self, images: Sequence[str], requester: Requester, seconds: float) -> ManualReview:
        containers = [Container(name=f"image-{number}", image=image) for number, image in enumerate(images, 1)]
        pod = Workload(kind="Pod", metadata=Metadata(name="images"), spec=WorkloadSpec(containers=containers))
        return await self._review(pod, GroupVersionKind(version="v1", kind="Pod"), requester, seconds)

    async def _review(
        self, value: Workload, kind: GroupVersionKind, requester: Requester, seconds: float
    ) -> ManualReview:
        metadata = value.metadata or Metadata()
        namespace = metadata.namespace or requester.namespace
        request = AdmissionRequest(
            uid="manual",
            kind=kind,
            operation="CREATE",
            name=metadata.name,
            namespace=namespace,
            userInfo=UserInfo(username=requester.user, groups=list(requester.groups)),
            object=value,
        )
        began = time.monotonic()
        deadline = Deadline(began + seconds)
        verdict = await self._reviews.review(request, deadline, origin=Origin.MANUAL, began=began)
        return ManualReview(kind.kind, namespace, metadata.name or f"{metadata.generateName or ''}*", verdict)


def _without_owners(value: Workload) -> Workload:
    """Judge what a controller made by itself: anyone can write an owner into a file, and its Pods are not reviewed."""
    if not value.metadata or not value.metadata.ownerReferences:
        return value
    return value.model_copy(update={"metadata": value.metadata.model_copy(update={"ownerReferences": None})})


def _why_unchecked(kind: GroupVersionKind) -> str:
    if kind.group == _KUSTOMIZE:
        return "not checked: kubectl does not create it; review the output of kubectl kustomize"
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    text = f"not checked: kind {shown(kind.kind)} of {shown(version)} is not known"
    meant = imageless.meant(kind)
    return f"{text}; did you mean {meant}?" if meant else f"{text}, so its images cannot be found"


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
    passes = summary.ignores_unchecked or not summary.unchecked
    return {
        "allowed": all(r.verdict is None or r.verdict.allowed for r in summary.reviews)
        and not summary.unread
        and passes,
        "images": [
            _image(review, image) for review in summary.reviews if review.verdict for image in review.verdict.images
        ],
        "warnings": [w for review in summary.reviews if review.verdict for w in review.verdict.warnings],
        "errors": [{**_object(review), "message": text} for review in summary.reviews if (text := whole_error(review))],
        "notChecked": [{**_object(r), "message": r.unchecked} for r in summary.reviews if r.unchecked],
        "objects": _objects(summary),
    }


def whole_error(review: ManualReview) -> str:
    """Why there is no verdict on any image of an object; empty where there are verdicts, or nothing to judge."""
    verdict = review.verdict
    if review.error or review.unchecked or not verdict or verdict.images or verdict.decision is Decision.ADMIT:
        return review.error
    return verdict.message or "; ".join(verdict.warnings) or "no verdict"


def _objects(summary: Summary) -> dict[str, int]:
    reviewed = len(summary.reviews) - summary.others - summary.unread - summary.unchecked
    return {
        "reviewed": reviewed,
        "withoutImages": summary.others,
        "notChecked": summary.unchecked,
        "unread": summary.unread,
    }


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
