"""The accounts of a second configuration, in the facts that the first one gathers."""

from collections.abc import Mapping, Sequence

from msgspec import structs

from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.question import Question
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.fact_source import Facts


class OtherAccounts:
    """Facts for a configuration whose accounts have other names; ``names`` leads from its names to the known ones.

    Two configurations then share every answer of an account that they have in common.
    """

    def __init__(self, facts: Facts, names: Mapping[str, str]) -> None:
        self._facts = facts
        self._names = names

    async def facts(
        self, questions: Sequence[Question], deadline: Deadline, *, namespace: str, side_effects: bool
    ) -> list[ImageFacts]:
        """Return the facts for each question in order."""
        named = [structs.replace(question, account=self._names[question.account]) for question in questions]
        return await self._facts.facts(named, deadline, namespace=namespace, side_effects=side_effects)
