import pytest

from anchore_admission.core.answers import ByDigest, ByTag, Check, Query, Value
from anchore_admission.core.facts import AnalysisState, Finding, ImageRecord, PolicyEvaluation
from anchore_admission.core.freshness import Freshness, Lifetimes, answer, doubted, known_elsewhere
from support.fakes import digest_of

APP = digest_of("app")
TAG, DIGEST, CHECK = ByTag("registry.example.com/app:1"), ByDigest(APP), Check(APP, "registry.example.com/app:1", None)
ANALYZED = ImageRecord(APP, AnalysisState.ANALYZED)
PASSED = PolicyEvaluation(True, "active")
FAILED = PolicyEvaluation(False, "active", findings=(Finding("g", "t", "i", "m"),))
BROKEN = PolicyEvaluation(False, "active", problems=("broken",))


@pytest.mark.parametrize(
    ("query", "value", "fresh", "refreshed", "usable"),
    [
        (TAG, ANALYZED, 30, 60, 600),
        (DIGEST, ANALYZED, 60, 120, 600),
        (CHECK, PASSED, 60, 120, 600),
        (CHECK, FAILED, 20, 20, 600),
        (CHECK, BROKEN, 3, 3, 0),
        (CHECK, AnalysisState.ANALYZING, 3, 3, 0),
        (CHECK, AnalysisState.UNKNOWN, 3, 3, 0),
        (TAG, None, 3, 3, 0),
        (DIGEST, None, 3, 3, 0),
        (TAG, ImageRecord(APP, AnalysisState.NOT_ANALYZED), 3, 3, 0),
        (TAG, ImageRecord(APP, AnalysisState.ANALYZING), 3, 3, 0),
        (TAG, ImageRecord(APP, AnalysisState.FAILED), 3, 3, 0),
    ],
    ids=str,
)
def test_an_answer_counts_as_long_as_its_kind_says(
    query: Query, value: Value, fresh: float, refreshed: float, usable: float
) -> None:
    known = answer(query, value, 1000.0, Lifetimes())

    assert (known.fresh_until - 1000, known.refresh_until - 1000, known.usable_until - 1000) == (
        fresh,
        refreshed,
        usable,
    )


def test_each_kind_has_its_own_lifetime() -> None:
    lifetimes = Lifetimes(passed=7, failed=6, pending=5, unknown=4, tag=3, outage=0)
    kinds: list[tuple[Query, Value]] = [
        (CHECK, PASSED),
        (CHECK, FAILED),
        (CHECK, BROKEN),
        (TAG, None),
        (TAG, ANALYZED),
    ]

    assert [answer(query, value, 0, lifetimes).fresh_until for query, value in kinds] == [7, 6, 5, 4, 3]


def test_without_an_outage_time_nothing_stands_in() -> None:
    assert answer(CHECK, PASSED, 10, Lifetimes(outage=0)).usable_until == 10


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, "fresh"), (59.9, "fresh"), (60, "refreshing"), (119.9, "refreshing"), (120, None), (700, None)],
)
def test_a_pass_is_fresh_then_refreshed_then_asked_for(age: float, expected: str | None) -> None:
    assert answer(CHECK, PASSED, 0, Lifetimes()).freshness(age) == (Freshness(expected) if expected else None)


def test_a_doubted_answer_is_asked_for_and_may_still_stand_in() -> None:
    known = doubted(answer(CHECK, PASSED, 0, Lifetimes()))

    assert (known.freshness(0), known.usable_until, known.value) == (None, 600, PASSED)


@pytest.mark.parametrize(("query", "value"), [(TAG, None), (CHECK, AnalysisState.UNKNOWN)], ids=str)
def test_an_unknown_name_of_a_known_image_counts_as_long_as_the_tag(query: Query, value: Value) -> None:
    absent = answer(query, value, 1000.0, Lifetimes())
    known = known_elsewhere(absent, Lifetimes())

    assert absent.is_absent
    assert (known.fresh_until, known.refresh_until, known.usable_until) == (1030, 1060, 1600)
    assert known_elsewhere(absent, Lifetimes(outage=0)).usable_until == 1000


def test_a_doubt_about_an_unknown_name_is_heeded() -> None:
    known = known_elsewhere(doubted(answer(TAG, None, 0, Lifetimes())), Lifetimes())

    assert (known.freshness(0), known.usable_until) == (None, 600)
