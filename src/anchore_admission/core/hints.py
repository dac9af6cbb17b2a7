"""Hints that something changed in Anchore: they let remembered answers be asked again early, and prove nothing."""

from dataclasses import dataclass
from typing import Final

FAMILIES: Final = ("user.image.analysis.", "user.policy.active.", "user.checks.tag.")
"""The beginnings of the types of events that can change a verdict."""
SUBSCRIPTIONS: Final = ("policy_eval", "tag_update", "vuln_update", "analysis_update")
"""The types of notifications that can change a verdict. That a tag has moved is none of the events."""
_LONGEST_NAME = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """One event or notification of Anchore, about a resource such as an ``image_tag``; an empty one is not known."""

    id: str
    kind: str
    resource_type: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Events:
    """The newest events, and from where to ask the next time.

    ``since`` overlaps with these events, because one may be written down after a younger one was read. It is empty as
    long as there has been no event. ``more`` is True if there are too many to list, so that some are missing.
    """

    entries: tuple[Event, ...]
    since: str
    more: bool = False


@dataclass(frozen=True, slots=True)
class Hint:
    """The answers that may be outdated: those about a full tag or a digest, or with neither all of an account."""

    full_tag: str | None = None
    digest: str | None = None


EVERYTHING: Final = Hint()


def hint_of(event: Event) -> Hint | None:
    """Return the hint that an event gives; None if it cannot change a verdict."""
    if event.kind not in SUBSCRIPTIONS and not event.kind.startswith((*FAMILIES, "system.image_analysis.")):
        return None
    # Policies have no name in an event. Anchore's names are short; a longer one is no image's.
    if event.resource_type not in {"image_tag", "image_digest"} or not 0 < len(event.resource) <= _LONGEST_NAME:
        return EVERYTHING
    return Hint(full_tag=event.resource) if event.resource_type == "image_tag" else Hint(digest=event.resource)
