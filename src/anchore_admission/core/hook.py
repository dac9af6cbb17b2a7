"""The decision of a hook: the opinion of another policy engine on a review, which only ever tightens the verdict."""

from msgspec import Struct

from anchore_admission.core.decision import Decision, Effect
from anchore_admission.errors import (
    DeadlineExceeded,
    HookFailed,
    HookInvalid,
    HookNotAsked,
    HookUnavailable,
    HookUndefined,
)

_ERRORS = (HookUnavailable, HookUndefined, HookInvalid, HookFailed, HookNotAsked, DeadlineExceeded)
HOOK_OUTCOMES = ("allowed", "warned", "denied", *(error.code for error in _ERRORS))
"""The outcomes of ``HookVerdict``, for metrics that show each from the start."""


class ImageOpinion(Struct, frozen=True):
    """The messages about one image; ``reference`` is its text as the object has it."""

    reference: str
    deny: tuple[str, ...] = ()
    warn: tuple[str, ...] = ()


class HookDecision(Struct, frozen=True):
    """The messages about the object, and about single images. None of any kind means that the hook has no objection.

    Every text is one line without control characters. ``decision_id`` finds the decision in the engine's own log.
    """

    deny: tuple[str, ...] = ()
    warn: tuple[str, ...] = ()
    images: tuple[ImageOpinion, ...] = ()
    decision_id: str = ""


class HookVerdict(Struct, frozen=True):
    """The meaning of a hook's decision for a review.

    ``decision`` is NO_VERDICT if there was none, and ``error`` the code of the reason. The lines stand for objections
    by their effect: ``denials`` and ``warnings`` are shown, ``recorded`` only in the audit trail. ``seconds`` is the
    time that the hook took.
    """

    policy: str
    decision: Decision
    effect: Effect
    denials: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    decision_id: str = ""
    error: str = ""
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        """The outcome for metrics and logs: ``allowed``, ``warned``, ``denied``, or the code of an error."""
        if self.error:
            return self.error
        if self.decision is Decision.DENY:
            return "denied"
        return "warned" if self.warnings or self.recorded else "allowed"

    @property
    def lines(self) -> tuple[str, ...]:
        """Every line, the gravest first."""
        return (*self.denials, *self.warnings, *self.recorded)
