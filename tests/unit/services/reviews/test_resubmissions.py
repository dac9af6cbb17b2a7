import asyncio
from collections.abc import Iterable

from anchore_admission.core.images import JudgedImage
from anchore_admission.core.question import Question, question_about
from anchore_admission.core.reference import parse
from anchore_admission.services.reviews.resubmissions import MOST, Resubmissions
from support.builders import rule
from support.fakes import settled


def question(number: int) -> Question:
    image = f"registry.example.com/app:{number}"
    found = question_about(JudgedImage(image, (), parse(image), rule()))
    assert found is not None
    return found


class Work:
    """Look-ups that end when the test says so."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.begun: list[Question] = []
        self.submitted: dict[Question, list[str | None]] = {}

    async def __call__(self, question: Question, namespaces: Iterable[str | None]) -> None:
        self.begun.append(question)
        await self.may_end.wait()
        self.submitted[question] = [*namespaces]


async def test_tag_is_submitted_for_all_namespaces_that_want_it_by_then() -> None:
    work = Work()
    tags = Resubmissions(work)
    for namespace in ["shop", "other", "shop"]:
        tags.begin(question(1), namespace)
    await settled()
    work.may_end.set()
    await tags.settled(question(1), 1.0)

    assert work.begun == [question(1)]
    assert work.submitted == {question(1): ["shop", "other"]}


async def test_namespace_leaves_room_to_others() -> None:
    work = Work()
    tags = Resubmissions(work)
    for number in range(MOST):
        tags.begin(question(number), "flood")
    tags.begin(question(MOST), "shop")
    await settled()
    assert work.begun == [*map(question, range(MOST // 2)), question(MOST)]

    work.may_end.set()
    await settled()
    tags.begin(question(MOST - 1), "flood")
    await settled()
    assert work.begun[-1] == question(MOST - 1)
