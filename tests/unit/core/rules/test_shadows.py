"""Rules that never apply, found among many."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.rules.coverage import covers
from anchore_admission.core.rules.shadows import shadowed
from anchore_admission.models.configuration import Match

_KEYS = st.fixed_dictionaries(
    {},
    optional={
        "images": st.lists(st.sampled_from(["*", "a.io/*", "*.io/*", "a.io/b?", "a.io/b1:2*", "c"]), min_size=1),
        "namespaces": st.lists(st.sampled_from(["*", "a*", "a?", "ab"]), min_size=1),
        "groups": st.lists(st.sampled_from(["*", "a*", "ab"]), min_size=1),
        "annotations": st.fixed_dictionaries({"a": st.sampled_from([["*"], ["b*"], ["bc"]])}),
        "objectSelector": st.sampled_from(
            [
                {"matchLabels": {"a": "b"}},
                {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
                {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["c"]}]},
            ]
        ),
        "except": st.sampled_from([{"namespaces": ["a*"]}, {"images": ["a.io/*"]}]),
    },
)


@given(st.lists(_KEYS, max_size=6))
def test_the_samples_lead_to_every_covered_match(found: list[dict[str, Any]]) -> None:
    matches = [Match.model_validate(keys) for keys in found]
    expected = {
        position: next(at for at in range(position) if covers(matches[at], match))
        for position, match in enumerate(matches)
        if any(covers(matches[at], match) for at in range(position))
    }
    assert dict(shadowed(matches)) == expected


@pytest.mark.parametrize(
    "narrow",
    [
        {"images": ["regex:a\\.io/.*"], "namespaces": ["shop"]},
        {"images": ["regex:a\\.io/.*"], "annotations": {"a": ["regex:b+"]}},
    ],
)
def test_equal_expressions_are_found(narrow: dict[str, Any]) -> None:
    wide = {"images": ["b.io/*", "regex:a\\.io/.*"]}
    assert list(shadowed([Match.model_validate(wide), Match.model_validate(narrow)])) == [(1, 0)]
