import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.adapters.store.values import decode, encode
from anchore_admission.core.answers import Value
from anchore_admission.core.facts import AnalysisState, Finding, ImageRecord, PolicyEvaluation, TagRow
from support.stores import PASSED, RECORD

LIMIT = 64 * 1024
RECORDS = st.builds(ImageRecord, state=st.just(AnalysisState.ANALYZED))
EVALUATIONS = st.from_type(PolicyEvaluation)


def encoded(value: Value) -> bytes:
    data = encode(value, LIMIT)
    assert data
    return data


def changed(**members: Any) -> bytes:
    """A record with other members; None takes one away."""
    content = json.loads(encoded(RECORD)[1:]) | members
    return b"r" + json.dumps({key: value for key, value in content.items() if value != "gone"}).encode()


@given(st.one_of(RECORDS, EVALUATIONS))
def test_an_answer_survives_the_way_through_the_store(value: ImageRecord | PolicyEvaluation) -> None:
    data = encode(value, 1024 * 1024)
    assert data is not None
    read = decode(data)
    assert read == value
    # Fields that do not count for equality are kept as well.
    assert repr(read) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        *AnalysisState,
        *(ImageRecord("d", state) for state in AnalysisState if state is not AnalysisState.ANALYZED),
    ],
)
def test_what_may_still_change_is_not_stored(value: Value) -> None:
    assert encode(value, LIMIT) is None


@pytest.mark.parametrize("count", [250, 1000, 100_000])
def test_an_answer_that_is_too_large_is_not_stored(count: int) -> None:
    findings = (Finding("vulnerabilities", "package", "CVE-2026-0001+" + "x" * 100, "m" * 100),) * count
    assert encode(PolicyEvaluation(passed=False, policy="p", findings=findings), LIMIT) is None
    assert encode(PolicyEvaluation(passed=True, policy="p", warnings=findings), LIMIT) is None
    tags = (TagRow("registry.example.com/team/app:1.0", "2026-01-01T00:00:00Z"),) * 1000
    assert encode(ImageRecord("d", AnalysisState.ANALYZED, tags), LIMIT) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"r",
        b"rnull",
        b"r[]",
        b"x" + encoded(RECORD)[1:],
        b"e" + encoded(RECORD)[1:],
        b"r" + encoded(PASSED)[1:],
        encoded(RECORD)[:-1],
        encoded(RECORD) + b" ",
        changed(more=1),
        changed(state="gone"),
        changed(tags="gone"),
        changed(state="something"),
        changed(digest=7),
        changed(tags={}),
        encoded(PASSED).replace(b'"passed":true', b'"passed":1'),
        encoded(PASSED).replace(b'"passed":true', b'"passed":"true"'),
        b"r" + b"[" * 100_000,
    ],
)
def test_anything_else_is_not_an_answer(data: bytes) -> None:
    assert decode(data) is None


def test_a_record_that_is_not_analyzed_is_not_believed() -> None:
    assert decode(encoded(RECORD).replace(b'"analyzed"', b'"analyzing"')) is None
