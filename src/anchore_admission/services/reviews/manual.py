"""Review by hand: bare objects or lists of images, one verdict per image, no side effects."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any

from msgspec import structs

from anchore_admission.core import imageless, messages, workload
from anchore_admission.documents.objects import Requester, kind_of, name_of, naming, opened, shows_images, under_review
from anchore_admission.errors import DeadlineExceeded, MalformedReview
from anchore_admission.models.review import AdmissionRequest, GroupVersionKind, UserInfo, encode_request, read_workload
from anchore_admission.models.workload import Metadata, Workload
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.judging import Explain
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.summary import ManualReview, Summary

_POD = "images"
"""The name of the Pod that stands for a list of images."""
_KUSTOMIZE = "kustomize.config.k8s.io"


@dataclass(frozen=True, slots=True)
class Document:
    """One document to review, or the problem that makes it unreadable; ``source`` names its file."""

    value: Any = None
    source: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The seconds that each object or image may take, and those of the whole run."""

    each: float
    run: float


Progress = Callable[[int, int], None]
"""Called after each review with the number of finished reviews and their total."""


def _no_progress(_ended: int, _all: int) -> None:
    """Show no progress."""


@dataclass(slots=True)
class _Budget:
    """The time and the number of images that one call may take."""

    deadline: Deadline
    max_images: int
    images: int = 0

    def spent(self) -> str:
        """Return the reason to review no further object; empty while there is time and room."""
        if self.images >= self.max_images:
            return messages.too_many_images_at_once(self.images)
        return "" if self.deadline.left() > 0 else messages.OUT_OF_TIME


class ManualReviews:
    """Reviews by hand for people and pipelines, on the same path as live reviews.

    ``max_images`` bounds the images of one call: once that many are reviewed, the remaining objects are not.
    ``at_once`` bounds the objects under review.
    """

    def __init__(self, reviews: Reviews, *, max_images: int = 2000, at_once: int = 8) -> None:
        self._reviews = reviews
        self._max_images = max_images
        self._at_once = at_once

    def explaining(self, most: int | None = None) -> "ManualReviews":
        """Return the same reviews, which also explain each image; of rules passed over they list ``most``, or all."""
        return ManualReviews(
            self._reviews.explaining(Explain(most)), max_images=self._max_images, at_once=self._at_once
        )

    async def objects(self, documents: Sequence[Any], requester: Requester, seconds: float, *, most: int) -> Summary:
        """Review ``most`` objects at most, within ``seconds`` in all; Lists are opened.

        An object for which no time is left gets an error of its own. Raises MalformedReview if there are more objects.
        """
        # One object more than allowed tells that there are too many, however long the Lists are.
        found = list(islice(chain.from_iterable(map(opened, documents)), most + 1))
        if len(found) > most:
            raise MalformedReview(messages.too_many_objects(most))
        if not found:
            return Summary((ManualReview("", requester.namespace, "", error=messages.EMPTY_LIST),))
        budget = _Budget(Deadline.after(seconds), self._max_images)
        return await self._gathered([partial(self._in_budget, value, requester, budget) for value in found])

    async def _in_budget(self, value: Any, requester: Requester, budget: _Budget) -> ManualReview:
        if reason := budget.spent():
            return _unreviewed(value, requester, reason)
        review = await self.object(value, requester, budget.deadline.left())
        budget.images += len(review.verdict.images) if review.verdict else 0
        return review

    async def documents(
        self, documents: Sequence[Document], requester: Requester, timeouts: Timeouts, progress: Progress = _no_progress
    ) -> Summary:
        """Review the documents of files. A document that cannot be read gets an error; the others are reviewed."""
        found = [replace(document, value=item) for document in documents for item in opened(document.value)]
        if not found:
            source = ", ".join(dict.fromkeys(document.source for document in documents))
            found = [Document(source=source, problem=messages.EMPTY_LIST)]
        run = Deadline.after(timeouts.run)
        reviews = [partial(self._document, document, requester, timeouts, run) for document in found]
        return await self._gathered(reviews, progress)

    async def each_image(
        self, images: Sequence[str], requester: Requester, timeouts: Timeouts, progress: Progress = _no_progress
    ) -> Summary:
        """Review images one by one, each as the only one of a Pod."""
        run = Deadline.after(timeouts.run)
        reviews = [partial(self._image, image, requester, timeouts, run) for image in images]
        return await self._gathered(reviews, progress)

    async def images(self, images: Sequence[str], requester: Requester, seconds: float) -> Summary:
        """Review images as if one Pod named them all."""
        return Summary((await self._images(images, requester, seconds),))

    async def object(self, value: Any, requester: Requester, seconds: float) -> ManualReview:
        """Review one bare Kubernetes object, or the one that an AdmissionReview is about."""
        try:
            value, kind, requester = under_review(value, requester)
        except MalformedReview as error:
            return ManualReview("AdmissionReview", requester.namespace, "", error=str(error))
        if kind is None:
            return ManualReview("", requester.namespace, "", error=messages.NOT_AN_OBJECT)
        if imageless.is_imageless(kind):
            return ManualReview(kind.kind, requester.namespace, name_of(value))
        if not workload.is_known(kind):
            return await self._unknown(value, kind, requester, seconds)
        try:
            return await self._review(_without_owners(read_workload(value)), kind, requester, seconds, value)
        except MalformedReview as error:
            return ManualReview(kind.kind, requester.namespace, name_of(value), error=str(error))

    async def _unknown(self, value: Any, kind: GroupVersionKind, requester: Requester, seconds: float) -> ManualReview:
        """Review an object of an unknown kind: ``unknownKinds: deny`` denies it as the webhook does.

        Otherwise it counts as not checked, unless it is a custom resource that shows no sign of an image.
        """
        review = await self._review(Workload(kind=kind.kind, metadata=naming(value)), kind, requester, seconds, value)
        if review.is_denied_whole:
            return review
        if imageless.is_custom(kind) and not shows_images(value):
            return replace(review, verdict=None)
        return replace(review, unchecked=_why_unchecked(kind))

    async def _document(
        self, document: Document, requester: Requester, timeouts: Timeouts, run: Deadline
    ) -> ManualReview:
        if document.problem:
            return ManualReview("", requester.namespace, "", error=document.problem, source=document.source)
        try:
            # Not a shorter deadline of the review: images that it does not reach would count as denied.
            async with run.bound():
                review = await self.object(document.value, requester, timeouts.each)
        except DeadlineExceeded:
            review = _unreviewed(document.value, requester, messages.run_out_of_time(timeouts.run))
        return replace(review, source=document.source)

    async def _image(self, image: str, requester: Requester, timeouts: Timeouts, run: Deadline) -> ManualReview:
        try:
            async with run.bound():
                return await self._images([image], requester, timeouts.each)
        except DeadlineExceeded:
            late = messages.run_out_of_time(timeouts.run)
            return ManualReview("Pod", requester.namespace, _POD, unreviewed=late, image=image)

    async def _images(self, images: Sequence[str], requester: Requester, seconds: float) -> ManualReview:
        containers = [{"name": f"image-{number}", "image": image} for number, image in enumerate(images, 1)]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _POD}, "spec": {"containers": containers}}
        kind = GroupVersionKind(version="v1", kind="Pod")
        return await self._review(read_workload(pod), kind, requester, seconds, pod)

    async def _review(
        self, found: Workload, kind: GroupVersionKind, requester: Requester, seconds: float, value: Any
    ) -> ManualReview:
        metadata = found.metadata or Metadata()
        namespace = metadata.namespace or requester.namespace
        request = AdmissionRequest(
            uid="manual",
            kind=kind,
            # There is no old object, so every image counts as new.
            operation="CREATE",
            name=metadata.name,
            namespace=namespace,
            userInfo=UserInfo(username=requester.user, groups=list(requester.groups)),
            object=found,
        )
        deadline, body = Deadline.after(seconds), partial(encode_request, request, value)
        verdict = await self._reviews.review(request, deadline, origin=Origin.MANUAL, body=body)
        return ManualReview(kind.kind, namespace, metadata.name or f"{metadata.generateName or ''}*", verdict)

    async def _gathered(
        self, reviews: Sequence[Callable[[], Awaitable[ManualReview]]], progress: Progress = _no_progress
    ) -> Summary:
        """Run a few reviews at once; the summary keeps their order."""
        slots = asyncio.Semaphore(self._at_once)
        ended = 0

        async def one(review: Callable[[], Awaitable[ManualReview]]) -> ManualReview:
            nonlocal ended
            async with slots:
                done = await review()
            ended += 1
            progress(ended, len(reviews))
            return done

        return Summary(tuple(await asyncio.gather(*map(one, reviews))))


def _unreviewed(value: Any, requester: Requester, reason: str) -> ManualReview:
    kind, metadata = kind_of(value), naming(value)
    namespace = metadata.namespace or requester.namespace
    return ManualReview(kind.kind if kind else "", namespace, metadata.name or "", unreviewed=reason)


def _without_owners(value: Workload) -> Workload:
    """Remove the owners, so that the object is judged: anyone can write an owner into a file."""
    if not value.metadata or not value.metadata.ownerReferences:
        return value
    return structs.replace(value, metadata=structs.replace(value.metadata, ownerReferences=None))


def _why_unchecked(kind: GroupVersionKind) -> str:
    if kind.group == _KUSTOMIZE:
        return messages.KUSTOMIZATION
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    return messages.unchecked_kind(kind.kind, version, imageless.meant(kind))
