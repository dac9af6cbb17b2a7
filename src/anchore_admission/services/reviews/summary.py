"""The results of a review by hand: one per object, and their sum."""

from dataclasses import dataclass, replace

from msgspec import structs

from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict


@dataclass(frozen=True, slots=True)
class ManualReview:
    """The review of one object.

    ``verdict`` is None for an object that holds no images. ``error`` says why the object is unreadable, ``unchecked``
    why its images could not be found, ``unreviewed`` why there was no time or room for it. ``image`` names the image
    that was to be reviewed on its own.
    """

    kind: str
    namespace: str
    name: str
    verdict: ReviewVerdict | None = None
    error: str = ""
    source: str = ""
    unchecked: str = ""
    unreviewed: str = ""
    image: str = ""

    @property
    def is_denied_whole(self) -> bool:
        """True if the object was denied as a whole: its kind is unknown, or it is unreadable."""
        verdict = self.verdict
        if not verdict or verdict.images or verdict.allowed:
            return False
        return verdict.decision is Decision.DENY or verdict.reason is Reason.UNKNOWN_KIND

    @property
    def problem(self) -> str:
        """The reason why no image of the object has a verdict; empty if images have one or there is none to judge."""
        verdict, error = self.verdict, self.error or self.unreviewed
        if error or self.unchecked or not verdict or verdict.images or verdict.decision is Decision.ADMIT:
            return error
        return verdict.message or "; ".join(verdict.warnings) or "no verdict"

    def hook_decides(self, decision: Decision) -> bool:
        """Return whether a decision hook denies the object, or has no verdict about it, whatever ``onError`` says."""
        hook = self.verdict.hook if self.verdict else None
        if hook is None or hook.decision is not decision:
            return False
        return hook.effect is Effect.DENY or decision is Decision.NO_VERDICT

    @property
    def is_out_of_scope(self) -> bool:
        return self.verdict is not None and self.verdict.out_of_scope is not None

    @property
    def holds_no_images(self) -> bool:
        """True for an object without images to judge, such as a ConfigMap."""
        if self.unchecked or self.problem or self.is_out_of_scope:
            return False
        return self.verdict is None or not self.verdict.images


@dataclass(frozen=True, slots=True)
class Summary:
    """The reviews of one run. ``ignores_unchecked`` lets objects of unknown kinds pass."""

    reviews: tuple[ManualReview, ...]
    ignores_unchecked: bool = False

    @property
    def denied(self) -> bool:
        """True if the webhook would deny any of the objects for a known reason."""
        if any(i.verdict.decision is Decision.DENY and i.effect is Effect.DENY for i in self.images):
            return True
        return any(review.is_denied_whole or review.hook_decides(Decision.DENY) for review in self.reviews)

    @property
    def undecided(self) -> bool:
        """True if any image has no verdict, or any object was not read or reviewed, whatever ``onError`` says.

        An image that an exemption admits needs none.
        """
        if any(image.verdict.decision is Decision.NO_VERDICT and not image.exemptions for image in self.images):
            return True
        return any(
            r.error
            or r.unreviewed
            or r.hook_decides(Decision.NO_VERDICT)
            or (r.verdict and not r.verdict.images and r.verdict.decision is Decision.NO_VERDICT)
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

    def without_explanations(self) -> "Summary":
        """Return the same summary without the explanations of images."""
        return replace(self, reviews=tuple(map(_without_explanations, self.reviews)))

    @property
    def others(self) -> int:
        """The number of objects that hold no images."""
        return sum(1 for r in self.reviews if not (r.verdict or r.error or r.unreviewed))

    @property
    def unread(self) -> int:
        """The number of objects that could not be read."""
        return sum(1 for review in self.reviews if review.error)

    @property
    def unreviewed(self) -> int:
        """The number of objects, or of images reviewed on their own, for which there was no time or room."""
        return sum(1 for review in self.reviews if review.unreviewed)


def _without_explanations(review: ManualReview) -> ManualReview:
    if not review.verdict:
        return review
    images = tuple(structs.replace(image, explanation=None) for image in review.verdict.images)
    return replace(review, verdict=structs.replace(review.verdict, images=images))
