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
    reference, rule = image.reference, image.rule
    needs = MODES[rule.mode].needs
    if reference is None or needs == NOTHING:
        return None
    policy = rule.policy if needs.evaluation else None
    return Question(reference, rule.account, policy, needs, rule.request_analysis)
