"""The outcome of a review for each image, and the change between two of them."""

from enum import StrEnum

from msgspec import Struct

from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.exemption_messages import exempted
from anchore_admission.core.facts import Finding
from anchore_admission.core.messages import WARNING_LIMIT, out_of_scope
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict

WHOLE = ""
"""The image text that stands for an object judged as a whole."""


class Change(StrEnum):
    """A change between two configurations, from the gravest to the lightest. Without a second configuration, the first
    three are outcomes that differ from plain admission.
    """

    DENIED = "newlyDenied"
    UNDECIDED = "newlyUndecided"
    """Denied because there was no verdict; another run may come to one."""
    WARNED = "newlyWarned"
    RECORDED = "newlyRecorded"
    """Only recorded: ``enforcement: audit``."""
    NO_LONGER_DENIED = "noLongerDenied"
    NO_LONGER_WARNED = "noLongerWarned"


class Outcome(Struct, frozen=True):
    """The outcome for one image under one configuration."""

    effect: Effect
    decision: Decision
    reason: str = ""
    rule: str = ""
    mode: str = ""
    message: str = ""
    findings: tuple[Finding, ...] = ()
    is_exempt: bool = False

    @property
    def is_undecided(self) -> bool:
        """True if Anchore gave no verdict; that the kind is not known is for the configuration to decide."""
        return self.decision is Decision.NO_VERDICT and self.reason != Reason.UNKNOWN_KIND

    @property
    def word(self) -> str:
        if not self.rule and self.decision is Decision.ADMIT:
            return "not judged"
        if self.is_exempt:
            return "exempt"
        if self.is_undecided:
            return f"undecided ({_EFFECTS[self.effect]})"
        if self.decision is Decision.DENY and self.effect is Effect.ALLOW:
            return "recorded"
        return _EFFECTS[self.effect]


_EFFECTS = {Effect.ALLOW: "admitted", Effect.WARN: "warned", Effect.DENY: "denied"}
NOT_JUDGED = Outcome(Effect.ALLOW, Decision.ADMIT)


def outcomes(verdict: ReviewVerdict) -> dict[str, Outcome]:
    """Return the outcome for each image, or for ``WHOLE`` if the object was decided on without its images."""
    if verdict.images:
        return {image.judged.text: _outcome(image) for image in verdict.images}
    if verdict.out_of_scope:
        return {WHOLE: Outcome(Effect.ALLOW, Decision.ADMIT, message=out_of_scope(verdict.out_of_scope))}
    if verdict.reason is None:
        return {}
    effect = Effect.WARN if verdict.warnings else Effect.ALLOW
    message = verdict.message or "; ".join(verdict.warnings)
    return {
        WHOLE: Outcome(
            effect if verdict.allowed else Effect.DENY, verdict.decision, verdict.reason.value, message=message
        )
    }


def _outcome(image: ImageVerdict) -> Outcome:
    verdict, rule = image.verdict, image.judged.rule
    uses = "; ".join(exempted(use, [image.judged.text], WARNING_LIMIT) for use in image.exemptions)
    return Outcome(
        image.effect,
        verdict.decision,
        verdict.reason.value,
        rule.name,
        rule.mode.value,
        uses or verdict.warning or verdict.message,
        verdict.findings,
        is_exempt=bool(uses),
    )


def change(before: Outcome, after: Outcome) -> Change | None:
    """Return how the outcome changes; None if its effect stays."""
    if before.effect is not after.effect:
        if after.effect is Effect.DENY:
            return Change.UNDECIDED if after.is_undecided else Change.DENIED
        if before.effect is Effect.DENY:
            return Change.NO_LONGER_DENIED
        return Change.WARNED if after.effect is Effect.WARN else Change.NO_LONGER_WARNED
    is_recorded = after.effect is Effect.ALLOW and after.decision is Decision.DENY
    return Change.RECORDED if is_recorded and before.decision is not Decision.DENY else None
