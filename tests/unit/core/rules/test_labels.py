"""Label selectors, many at once."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.rules.labels import LabelMasks
from anchore_admission.models.configuration import LabelSelector

_KEYS = st.sampled_from(["a", "b"])
_VALUES = st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=2)
_EXPRESSIONS = st.one_of(
    st.builds(lambda key, operator, values: {"key": key, "operator": operator, "values": values}, _KEYS,
              st.sampled_from(["In", "NotIn"]), _VALUES),
    st.builds(lambda key, operator: {"key": key, "operator": operator}, _KEYS,
              st.sampled_from(["Exists", "DoesNotExist"])),
)  # fmt: skip
_SELECTORS = st.fixed_dictionaries(
    {"matchExpressions": st.lists(_EXPRESSIONS, min_size=1, max_size=4)},
    optional={"matchLabels": st.dictionaries(_KEYS, st.sampled_from(["1", "2"]), max_size=2)},
)
_LABELS = st.dictionaries(_KEYS, st.sampled_from(["1", "2", "3", ""]), max_size=2)


def _holds(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Compare one selector as k8s.io/apimachinery does, written once more."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    results = []
    for expression in selector["matchExpressions"]:
        value = labels.get(expression["key"])
        match expression["operator"]:
            case "In":
                results.append(value in expression["values"])
            case "NotIn":
                results.append(value not in expression["values"])
            case "Exists":
                results.append(value is not None)
            case _:
                results.append(value is None)
    return all(results)


@given(st.lists(_SELECTORS, min_size=1, max_size=4), _LABELS)
def test_many_selectors_at_once_are_compared_like_each_alone(
    selectors: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    # Every second position has no selector, and never fails.
    masks = LabelMasks.of([(2 * n, LabelSelector.model_validate(s)) for n, s in enumerate(selectors)])
    expected = sum(1 << 2 * n for n, selector in enumerate(selectors) if not _holds(selector, labels))
    assert masks.failing(labels) == expected
    assert masks.keyed == sum(1 << 2 * n for n in range(len(selectors)))
