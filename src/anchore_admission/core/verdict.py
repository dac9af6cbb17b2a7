"""What was decided about an image, what that does to the request, and how the verdicts of a review add up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from anchore_admission.core.facts import Finding, ImageFacts
from anchore_admission.core.reference import ImageReference
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.workload import ContainerImage
from anchore_admission.models.configuration import Enforcement, ModeName, OnError, WorkloadHandling


class Decision(StrEnum):
    """The verdict itself, whatever is then done with it."""

    ADMIT = "admit"
    DENY = "deny"
    NO_VERDICT = "no_verdict"


class Reason(StrEnum):
    """Why; a closed set, fit for a metric's label."""

    SKIPPED = "skipped"
    REQUESTED = "requested"
    ANALYZED = "analyzed"
    POLICY_PASSED = "policy_passed"
    POLICY_FAILED = "policy_failed"
    UNMAPPED = "unmapped"
    UNKNOWN = "unknown"
    PENDING = "pending"
    ANALYSIS_FAILED = "analysis_failed"
    IMAGE_ID = "image_id"
    MALFORMED_REFERENCE = "malformed_reference"
    UNSUPPORTED_REFERENCE = "unsupported_reference"
    TOO_MANY_IMAGES = "too_many_images"
    NOT_REACHED = "not_reached"
    TOO_MANY_FINDINGS = "too_many_findings"
    RECORD_TOO_LARGE = "record_too_large"
    NO_IMAGE = "no_image"
    UNREADABLE_OBJECT = "unreadable_object"
    UNKNOWN_KIND = "unknown_kind"
    ERROR = "error"


FINAL_REASONS = frozenset(
    {
        Reason.POLICY_FAILED,
        Reason.UNMAPPED,
        Reason.IMAGE_ID,
        Reason.MALFORMED_REFERENCE,
        Reason.UNSUPPORTED_REFERENCE,
        Reason.TOO_MANY_IMAGES,
        Reason.TOO_MANY_FINDINGS,
        Reason.RECORD_TOO_LARGE,
        Reason.UNREADABLE_OBJECT,
    }
)
"""Refusals that no waiting cures; they deny a template at once, all others may have changed when its Pods come."""


class Effect(StrEnum):
    """What a verdict does to the request."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A mode's word on one image. ``warning`` is shown although the image is admitted."""

    decision: Decision
    reason: Reason
    message: str
    findings: tuple[Finding, ...] = ()
    warning: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ImageVerdict:
    """A verdict with what it is about and what it does. ``reference`` is None where the text is no reference."""

    image: str
    places: tuple[ContainerImage, ...]
    reference: ImageReference | None
    rule: Rule
    facts: ImageFacts
    verdict: Verdict
    effect: Effect
    texts: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """How it is told in one place or another, written once: one verdict may stand for many reviews."""

    @property
    def digest(self) -> str | None:
        return self.facts.digest or (self.reference.digest if self.reference else None)


class ReviewVerdict(NamedTuple):
    """The answer to a whole request, ready to be encoded for whoever asked."""

    allowed: bool
    decision: Decision
    images: tuple[ImageVerdict, ...] = ()
    out_of_scope: OutOfScope | None = None
    reason: Reason | None = None  # of a decision about the object as a whole
    message: str = ""
    warnings: tuple[str, ...] = ()
    audit_annotations: tuple[tuple[str, str], ...] = ()


def gravest_first(images: Sequence[ImageVerdict]) -> Sequence[ImageVerdict]:
    """Return what is denied first, then what would be, then what is undecided, so that no list is cut before them."""
    return images if len(images) == 1 else sorted(images, key=_gravity)


def _gravity(image: ImageVerdict) -> int:
    if image.effect is Effect.DENY:
        return 0
    match image.verdict.decision:
        case Decision.DENY:
            return 1
        case Decision.NO_VERDICT:
            return 2
        case Decision.ADMIT:
            return 3 if image.effect is Effect.WARN else 4


_ON_ERROR = {OnError.DENY: Effect.DENY, OnError.WARN: Effect.WARN, OnError.ALLOW: Effect.ALLOW}


def effect_of(verdict: Verdict, rule: Rule, handling: WorkloadHandling) -> Effect:
    """What the verdict does: ``onError`` first, then how templates are handled, then ``enforcement``.

    ``handling`` is DENY for a Pod: it is authoritative.
    """
    effect = _judged(verdict, rule)
    if effect is Effect.DENY and _only_warns(verdict, handling):
        effect = Effect.WARN
    if effect is Effect.DENY and rule.enforcement is Enforcement.WARN:
        effect = Effect.WARN
    return Effect.ALLOW if rule.enforcement is Enforcement.AUDIT else effect


def worst(decisions: list[Decision]) -> Decision:
    if Decision.DENY in decisions:
        return Decision.DENY
    return Decision.NO_VERDICT if Decision.NO_VERDICT in decisions else Decision.ADMIT


def _judged(verdict: Verdict, rule: Rule) -> Effect:
    match verdict.decision:
        case Decision.DENY:
            return Effect.DENY
        case Decision.NO_VERDICT if rule.mode is ModeName.PASSIVE:
            return Effect.WARN
        case Decision.NO_VERDICT:
            return _ON_ERROR[rule.on_error]
        case Decision.ADMIT:
            return Effect.WARN if verdict.warning else Effect.ALLOW


def _only_warns(verdict: Verdict, handling: WorkloadHandling) -> bool:
    if handling is WorkloadHandling.FINAL:
        return verdict.reason not in FINAL_REASONS
    return handling is WorkloadHandling.WARN
