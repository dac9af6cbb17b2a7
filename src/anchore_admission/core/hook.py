"""The decision of a hook: the opinion of another policy engine on a review, which only ever tightens the verdict."""

from msgspec import Struct


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
