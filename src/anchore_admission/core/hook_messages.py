"""The sentences about the decision of a hook, and their share of a denial."""

from collections.abc import Sequence
from typing import Final

from anchore_admission.core.messages import MESSAGE_LIMIT, fitting
from anchore_admission.text import shown

LIMIT: Final = 1024
"""Characters of one objection. Denials and warnings show less of a long one, the log shows all."""
SHARE: Final = 400
"""Characters of a denial for a hook's objections, where images are denied, too."""
_IMAGE_LIMIT: Final = 200


def objection(policy: str, text: str, image: str = "") -> str:
    """Write one objection to the object, or to one image of it."""
    about = f"image {shown(image, _IMAGE_LIMIT)}: " if image else ""
    return shown(f"policy {policy}: {about}{text}", LIMIT)


def no_decision(policy: str, error: Exception) -> str:
    return shown(f"policy {policy} gave no decision: {error}", LIMIT)


def unknown_reference(reference: str) -> str:
    return f"it names image {shown(reference, _IMAGE_LIMIT)}, which is no reference of the input"


def denial(lines: Sequence[str], *, alone: bool) -> str:
    """Write the objections that deny an object, one per line, as many as fit; ``alone`` if no image is denied."""
    room = MESSAGE_LIMIT if alone else SHARE
    rest = f"and {len(lines)} more objections"
    texts = [shown(line, room - len(rest) - 1) for line in lines]
    kept = fitting([len(text) + 1 for text in texts], room - len(rest))
    hidden = len(texts) - kept
    return "\n".join([*texts[:kept], *([f"and {hidden} more objection{'s' if hidden > 1 else ''}"] if hidden else [])])
