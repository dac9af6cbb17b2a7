"""The source of the facts that reviews rest on, and the one that knows nothing."""

from collections.abc import Sequence
from typing import Protocol

from anchore_admission.core.facts import NOTHING_KNOWN, ImageFacts
from anchore_admission.core.question import Question
from anchore_admission.ports.deadline import Deadline


class Facts(Protocol):
    """The source of the facts that reviews rest on."""

    async def facts(
        self, questions: Sequence[Question], deadline: Deadline, *, namespace: str, side_effects: bool
    ) -> list[ImageFacts]:
        """Return the facts for each question in order; what could not be learned in time is an error in them."""


class NoFacts:
    """The source that asks nothing and knows nothing, to explain rules without Anchore."""

    async def facts(
        self,
        questions: Sequence[Question],
        deadline: Deadline,  # noqa: ARG002 - the port's
        *,
        namespace: str,  # noqa: ARG002 - the port's
        side_effects: bool,  # noqa: ARG002 - the port's
    ) -> list[ImageFacts]:
        return [NOTHING_KNOWN] * len(questions)
