"""Reviews by hand: bare objects or lists of images, one verdict per image, no side effects."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from anchore_admission.core import messages, workload
from anchore_admission.core.verdict import Decision, Effect, ImageVerdict, ReviewVerdict
from anchore_admission.errors import MalformedReview
from anchore_admission.models.review import AdmissionRequest, GroupVersionKind, UserInfo, read_workload
from anchore_admission.models.workload import Container, Metadata, Workload, WorkloadSpec
from anchore_admission.ports import Deadline, Origin
from anchore_admission.services.review import Reviews

DEFAULT_NAMESPACE = "default"
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf is asked, where the object itself does not say."""

    namespace: str = DEFAULT_NAMESPACE
    user: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ManualReview:
    """One object's review. ``verdict`` is None for an object that holds no images, ``error`` says it is unreadable."""

    kind: str
    namespace: str
    name: str
    verdict: ReviewVerdict | None = None
    error: str = ""


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
        return any(r.error or (r.verdict and r.verdict.decision is Decision.NO_VERDICT) for r in self.reviews)

    @property
    def images(self) -> list[ImageVerdict]:
        return [image for review in self.reviews if review.verdict for image in review.verdict.images]

    @property
    def others(self) -> int:
        """How many objects hold no images."""
        return sum(1 for review in self.reviews if not review.verdict and not review.error)


class ManualReviews:
    """The same path as a live review, for people and pipelines."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews

    async def objects(self, documents: Sequence[Any], asker: Asker, seconds: float) -> Summary:
        """Review parsed objects; Lists are opened. ``seconds`` bound each object's review."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(value: Any) -> ManualReview:
            async with slots:
                return await self.object(value, asker, seconds)

        found = [item for document in documents for item in opened(document)]
        return Summary(tuple(await asyncio.gather(*(one(item) for item in found))))

    async def images(self, images: Sequence[str], asker: Asker, seconds: float) -> Summary:
        """Review images as if one Pod named them all."""
        containers = [Container(name=f"image-{number}", image=image) for number, image in enumerate(images, 1)]
        pod = Workload(kind="Pod", metadata=Metadata(name="images"), spec=WorkloadSpec(containers=containers))
        return Summary((await self._review(pod, GroupVersionKind(version="v1", kind="Pod"), asker, seconds),))

    async def object(self, value: Any, asker: Asker, seconds: float) -> ManualReview:
        """Review one bare Kubernetes object."""
        kind = _kind(value)
        if kind is None:
            return ManualReview("", asker.namespace, "", error="not a Kubernetes object: it has no apiVersion and kind")
        if not workload.is_known(kind):
            return ManualReview(kind.kind, asker.namespace, _name(value))
        try:
            return await self._review(read_workload(value), kind, asker, seconds)
        except MalformedReview as error:
            return ManualReview(kind.kind, asker.namespace, _name(value), error=str(error))

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


def opened(document: Any) -> Iterator[Any]:
    """The objects of a List of any kind, or the document itself."""
    items = document.get("items") if isinstance(document, dict) else None
    if isinstance(items, list) and str(document.get("kind", "")).endswith("List"):
        for item in items:
            yield from opened(item)
    else:
        yield document


def as_document(summary: Summary) -> dict[str, Any]:
    """What machines read: one entry per image of every object."""
    return {
        "allowed": all(r.verdict is None or r.verdict.allowed for r in summary.reviews) and not _unread(summary),
        "images": [
            _image(review, image) for review in summary.reviews if review.verdict for image in review.verdict.images
        ],
        "warnings": [w for review in summary.reviews if review.verdict for w in review.verdict.warnings],
        "errors": [{**_object(review), "message": review.error} for review in summary.reviews if review.error],
        "objects": {"reviewed": len(summary.reviews) - summary.others, "withoutImages": summary.others},
    }


def _unread(summary: Summary) -> bool:
    return any(review.error for review in summary.reviews)


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
    return {"kind": review.kind, "namespace": review.namespace, "name": review.name}


def _kind(value: Any) -> GroupVersionKind | None:
    if not isinstance(value, dict):
        return None
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not kind:
        return None
    group, slash, number = version.rpartition("/")
    return GroupVersionKind(group=group if slash else "", version=number, kind=kind)


def _name(value: Any) -> str:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
