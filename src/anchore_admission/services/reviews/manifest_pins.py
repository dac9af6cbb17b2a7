"""Pins of manifests: for each image text of reviewed documents, the digest to append, or the reason why not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from anchore_admission.core import workload
from anchore_admission.core.names import detected_at
from anchore_admission.core.pins import NEVER_PULLED, pinned_text
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.documents.image_edits import ABSENT, Path, value_at
from anchore_admission.documents.objects import Requester, is_review, kind_of, opened_with_paths, under_review
from anchore_admission.services.reviews.summary import ManualReview

_UNKNOWN = "there is no verdict on it"


@dataclass(frozen=True, slots=True)
class ManifestPin:
    """One image text: ``addition`` is what to append to it; if it is empty, ``reason`` says why the tag stays.

    ``path`` leads to the text from the sequence of documents. ``detected_at`` is the time at which Anchore saw the tag
    at this digest first (RFC 3339), empty if it does not tell.
    """

    path: Path
    image: str
    addition: str = ""
    reason: str = ""
    detected_at: str = ""

    @property
    def digest(self) -> str:
        return self.addition.rpartition("@")[2]


def manifest_pins(documents: Sequence[Any], reviews: Sequence[ManualReview]) -> list[ManifestPin]:
    """Return the pins of documents, whose objects have one review each, in their order, with explanations.

    Images that name a digest are left out, and containers without an image: there is nothing to do about them.
    Documents without objects have a single review, which says so.
    """
    found = [(i, path, value) for i, document in enumerate(documents) for path, value in opened_with_paths(document)]
    pins = (
        pin
        for (number, path, value), review in zip(found, reviews, strict=bool(found))
        if review.verdict
        for pin in _of_object((number, *path), value, review.verdict.images)
    )
    # A digest must never follow another image than the one that it belongs to.
    return [
        ManifestPin(pin.path, pin.image, reason=ABSENT)
        if pin.addition and value_at(documents, pin.path) != pin.image
        else pin
        for pin in pins
    ]


def _of_object(path: Path, value: Any, images: Sequence[ImageVerdict]) -> Iterator[ManifestPin]:
    if not images:
        return
    _, kind, _ = under_review(value, Requester())
    written = kind_of(value)
    if kind is None or written is None:
        return
    within: Path = ("request", "object") if is_review(written) else ()
    for image in images:
        reference = image.judged.reference
        if not image.judged.text or (reference and reference.digest):
            continue
        for place in image.judged.places:
            yield _pin((*path, *within, *workload.image_path(kind, place)), image, place)


def _pin(path: Path, image: ImageVerdict, place: workload.ContainerImage) -> ManifestPin:
    text, reference, explanation = image.judged.text, image.judged.reference, image.explanation
    if place.is_never_pulled:
        return ManifestPin(path, text, reason=NEVER_PULLED)
    if reference is None or explanation is None or not explanation.pin_digest:
        return ManifestPin(path, text, reason=explanation.not_pinned if explanation else _UNKNOWN)
    addition = pinned_text(text, reference, explanation.pin_digest).removeprefix(text)
    record = image.facts.record
    return ManifestPin(path, text, addition, detected_at=detected_at(record, reference) if record else "")
