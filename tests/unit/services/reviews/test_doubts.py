"""Doubts are compared with answers when those are used, in bounded memory."""

import pytest

from anchore_admission.core.answers import ByDigest, ByTag, Check, Query, Value
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation, TagRow
from anchore_admission.core.freshness import Lifetimes, answer
from anchore_admission.services.reviews.doubts import MOST_NAMES, Doubts

TAG, OTHER = "r.example.com/a:1", "r.example.com/b:1"
DIGEST, LIST = "sha256:" + "a1" * 32, "sha256:" + "b2" * 32
RECORD = ImageRecord(DIGEST, AnalysisState.ANALYZED, (TagRow(TAG),), parent_digest=LIST)
BY_TAG = ByTag(TAG)
PASSED = PolicyEvaluation(True, "active")


def covered(doubts: Doubts, query: Query = BY_TAG, value: Value = None, at: float = 10, account: str = "a") -> bool:
    return doubts.cover(account, query, answer(query, value, at, Lifetimes()))


@pytest.mark.parametrize(
    ("name", "query", "value", "expected"),
    [
        (TAG, ByTag(TAG), None, True),
        (TAG, ByTag(TAG), RECORD, True),
        (TAG, ByTag(OTHER), RECORD, True),
        (TAG, ByDigest(LIST), RECORD, True),
        (TAG, Check(DIGEST, TAG, None), PASSED, True),
        (TAG, Check(DIGEST, OTHER, None), PASSED, False),
        (TAG, ByTag(OTHER), None, False),
        (DIGEST, ByDigest(DIGEST), None, True),
        (DIGEST, ByDigest(LIST), RECORD, True),
        (DIGEST, ByTag(TAG), RECORD, True),
        (DIGEST, Check(DIGEST, OTHER, None), PASSED, True),
        (LIST, ByTag(TAG), RECORD, True),
        (LIST, Check(DIGEST, TAG, None), PASSED, False),
    ],
)
def test_the_answers_that_a_name_concerns(name: str, query: Query, value: Value, expected: bool) -> None:
    doubts = Doubts()
    is_digest = name.startswith("sha256:")
    doubts.add("a", None if is_digest else name, name if is_digest else None, 20)
    assert covered(doubts, query, value) is expected


def test_only_answers_that_were_asked_for_before() -> None:
    doubts = Doubts()
    doubts.add("a", TAG, None, 20)
    assert [covered(doubts, at=at) for at in (19, 20, 21)] == [True, True, False]
    doubts.add("a", None, None, 30)
    assert [covered(doubts, ByTag(OTHER), at=at) for at in (29, 30, 31)] == [True, True, False]


def test_other_accounts_are_not_concerned() -> None:
    doubts = Doubts()
    doubts.add("a", TAG, None, 20)
    doubts.add("a", None, None, 20)
    assert not covered(doubts, account="b")


def test_a_later_doubt_about_everything_keeps_no_names() -> None:
    doubts = Doubts()
    doubts.add("a", TAG, None, 20)
    doubts.add("a", None, None, 30)
    assert covered(doubts, at=25)
    assert doubts._accounts["a"].names == {}


def test_names_are_bounded_and_none_is_lost() -> None:
    """Beyond the bound, what is at least as old as the oldest doubt is doubted as well: more, never less."""
    doubts = Doubts()
    for number in range(2 * MOST_NAMES):
        doubts.add("a", f"r.example.com/a:{number}", None, number)
    assert len(doubts._accounts["a"].names) == MOST_NAMES
    for number in range(2 * MOST_NAMES):
        assert covered(doubts, ByTag(f"r.example.com/a:{number}"), at=number)
    assert not covered(doubts, ByTag(OTHER), at=MOST_NAMES)
    assert covered(doubts, ByTag(OTHER), at=MOST_NAMES - 1)
