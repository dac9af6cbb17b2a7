"""The facts that a review needs about an image. This module alone decides whether Anchore is contacted at all."""

from msgspec import Struct

from anchore_admission.core.images import JudgedImage
from anchore_admission.core.modes import MODES, NOTHING, Needs
from anchore_admission.core.reference import ImageReference


class Question(Struct, frozen=True):
    """The facts that are needed about one image. The facts for equal questions are gathered once."""

    reference: ImageReference
    account: str
    policy: str | None
    needs: Needs
    request_analysis: bool


def question_about(image: JudgedImage) -> Question | None:
    """Return the question about an image; None if its mode needs no facts or Anchore cannot check the image."""
    needs = MODES[image.rule.mode].needs
    if image.reference is None or needs == NOTHING:
        return None
    return Question(
        reference=image.reference,
        account=image.rule.account,
        policy=image.rule.policy if needs.evaluation else None,
        needs=needs,
        request_analysis=image.rule.request_analysis,
    )
