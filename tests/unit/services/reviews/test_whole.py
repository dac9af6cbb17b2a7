"""Facts that are kept assembled are bounded in bytes, and outlive no change."""

from anchore_admission.core.answers import ByTag
from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.freshness import Lifetimes, answer
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.question import Question, question_about
from anchore_admission.core.reference import parse
from anchore_admission.ports.anchore import Identity
from anchore_admission.services.reviews.memory import State
from anchore_admission.services.reviews.remembered import size_of
from anchore_admission.services.reviews.whole import WholeFacts
from support.builders import rule

FACTS = ImageFacts()
USED = (answer(ByTag("x"), None, 0, Lifetimes()),)
SIZE = size_of(USED[0])


def question(number: int) -> Question:
    found = question_about(JudgedImage("", (), parse(f"registry.example.com/app:{number}"), rule()))
    assert found
    return found


def state(revision: int = 0) -> tuple[State, int]:
    return State(revision, Identity("fake"), 0), 0


def kept(whole: WholeFacts, *numbers: int) -> list[int]:
    return [number for number in numbers if whole.get(question(number), state(), 0)]


def test_facts_are_kept_until_their_time_or_a_change() -> None:
    whole = WholeFacts(10 * SIZE)
    whole.keep(question(1), FACTS, USED, state(), until=10)

    assert whole.get(question(1), state(), 9.9) is FACTS
    assert whole.get(question(1), state(), 10) is None
    assert whole.get(question(1), state(1), 9.9) is None


def test_too_many_bytes_drop_what_was_kept() -> None:
    whole = WholeFacts(3 * SIZE)
    for number in (1, 2, 3, 3, 3):
        whole.keep(question(number), FACTS, USED, state(), until=10)
    assert kept(whole, 1, 2, 3) == [1, 2, 3]

    whole.keep(question(4), FACTS, USED, state(), until=10)
    assert kept(whole, 1, 2, 3, 4) == [4]


def test_facts_larger_than_the_bound_are_not_kept() -> None:
    whole = WholeFacts(SIZE)
    whole.keep(question(1), FACTS, USED * 2, state(), until=10)

    assert kept(whole, 1) == []
