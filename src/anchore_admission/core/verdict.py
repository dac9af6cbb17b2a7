"""Verdicts on images and on whole reviews, and the effect that a verdict has on the request."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from anchore_admission.core.decision import FINAL_REASONS, Decision, Effect, Reason
from anchore_admission.core.explain import Explanation
from anchore_admission.core.facts import Finding, ImageFacts
from anchore_admission.core.hook import HookVerdict
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.rules.exemptions import Use
from anchore_admission.core.scope import OutOfScope
from anchore_admission.models.configuration import Enforcement, OnError, WorkloadHandling


class Verdict(Struct, frozen=True):
    """A mode's verdict on one image. ``warning`` is shown although the image is admitted."""

    decision: Decision
    reason: Reason
    message: str
    findings: tuple[Finding, ...] = ()
    warning: str = ""
    error: str = ""


class ImageVerdict(Struct, frozen=True):
    """The verdict on one image of a request, with the facts it rests on and its effect.

    ``exemptions`` are those because of which the image is not denied; the verdict stays what it is. ``explanation`` is
    given where one was asked for.
    """

    judged: JudgedImage
    facts: ImageFacts
    verdict: Verdict
    effect: Effect
    exemptions: tuple[Use, ...] = ()
    explanation: Explanation | None = None

    @property
    def digest(self) -> str | None:
        """The digest that Anchore has for the image, else the one that its reference names."""
        if digest := self.facts.digest:
            return digest
        reference = self.judged.reference
        return reference.digest if reference else None


class ReviewVerdict(Struct, frozen=True):
    """The verdict on a whole request; ``reason`` is that of a decision about the object as a whole.

    ``hook`` is None if no decision hook was asked.
    """

    allowed: bool
    decision: Decision
    images: tuple[ImageVerdict, ...] = ()
    out_of_scope: OutOfScope | None = None
    reason: Reason | None = None
    message: str = ""
    warnings: tuple[str, ...] = ()
    audit_annotations: Mapping[str, str] = {}
    hook: HookVerdict | None = None


def gravest_first(images: Sequence[ImageVerdict]) -> list[ImageVerdict]:
    """Sort denials first, then suspended denials, then images without a verdict.

    Long lists of images are cut at their end, and the cut must not hide what decided the review.
    """
    return sorted(images, key=_gravity)


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
    """Return the effect: ``onError`` counts first, then the handling of templates, then ``enforcement``.

    ``handling`` is DENY for a Pod, whose verdict is authoritative.
    """
    effect = full_effect(verdict, rule)
    if effect is Effect.DENY and _only_warns(verdict, handling):
        effect = Effect.WARN
    if effect is Effect.DENY and rule.enforcement is Enforcement.WARN:
        effect = Effect.WARN
    return Effect.ALLOW if rule.enforcement is Enforcement.AUDIT else effect


def full_effect(verdict: Verdict, rule: Rule) -> Effect:
    """Return the effect on a Pod under ``enforcement: deny``; exemptions apply to a denial of this kind."""
    if verdict.decision is Decision.ADMIT:
        return Effect.WARN if verdict.warning else Effect.ALLOW
    if verdict.decision is Decision.DENY:
        return Effect.DENY
    # The other modes promise to admit, whatever `onError` says.
    return _ON_ERROR[rule.on_error] if rule.can_deny else Effect.WARN


def worst_decision(decisions: Iterable[Decision]) -> Decision:
    """Return DENY if it is among the decisions, else NO_VERDICT if that is, else ADMIT."""
    found = set(decisions)
    if Decision.DENY in found:
        return Decision.DENY
    return Decision.NO_VERDICT if Decision.NO_VERDICT in found else Decision.ADMIT


def worst_effect(effects: Iterable[Effect]) -> Effect:
    """Return DENY if it is among the effects, else WARN if that is, else ALLOW."""
    found = set(effects)
    if Effect.DENY in found:
        return Effect.DENY
    return Effect.WARN if Effect.WARN in found else Effect.ALLOW


def _only_warns(verdict: Verdict, handling: WorkloadHandling) -> bool:
    if handling is WorkloadHandling.FINAL:
        return verdict.reason not in FINAL_REASONS
    return handling is WorkloadHandling.WARN
