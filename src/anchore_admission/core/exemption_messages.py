"""The sentences about exemptions and break-glass."""

from collections.abc import Sequence

from anchore_admission.core.rules.exemptions import Use, UseKind
from anchore_admission.text import shortened, shown

_SUBJECT_LIMIT = 80
_OWNER_LIMIT = 40
_SHORTEST_REASON = 20


def exempted(use: Use, images: Sequence[str], limit: int) -> str:
    """Warn that denied images are admitted, with the grounds; the reason is cut, so that the rest fits."""
    rest = f" and {len(images) - 1} more" if len(images) > 1 else ""
    name = f"Exemption {use.name}" if use.kind is UseKind.EXEMPTION else f"Break-glass of rule {use.name}"
    head = f"{name} admits image {shown(images[0], _SUBJECT_LIMIT)}{rest}"
    tail = f" ({grounds(use)})" if use.kind is UseKind.EXEMPTION else ""
    room = max(limit - len(head) - len(tail) - 2, _SHORTEST_REASON)
    return f"{head}: {shortened(use.reason, room)}{tail}"


def grounds(use: Use) -> str:
    """Name owner, ticket and end of an exemption."""
    ticket = f", ticket {shown(use.ticket, _OWNER_LIMIT)}" if use.ticket else ""
    return f"owner {shown(use.owner, _OWNER_LIMIT)}{ticket}, until {use.expires}"


def exempt_in_part(names: Sequence[str]) -> str:
    """Tell the author of a denied image that exemptions excuse other findings than these."""
    return f"Exemption {names[0]}{f' and {len(names) - 1} more do' if names[1:] else ' does'} not excuse all of this"


def exemption_ended(use: Use) -> str:
    return f"Exemption {use.name} ended at {use.expires}"


def break_glass(annotation: str) -> str:
    """Tell a person who may break the glass how it is done."""
    return f"In an emergency, give a reason in the Pod's annotation {shown(annotation)}"
