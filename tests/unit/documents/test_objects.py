"""The objects of a document, with the paths that lead to them."""

from typing import Any

import pytest

from anchore_admission.documents.image_edits import value_at
from anchore_admission.documents.objects import opened, opened_with_paths

POD = {"apiVersion": "v1", "kind": "Pod"}
NESTED = {"kind": "List", "items": [POD, {"kind": "List", "items": [POD, 1]}, {"kind": "List", "items": None}]}


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        (POD, [()]),
        (None, [()]),
        (NESTED, [("items", 0), ("items", 1, "items", 0), ("items", 1, "items", 1)]),
        ({"kind": "List", "items": []}, []),
        ({"kind": "List", "items": {}}, [()]),
        ({**POD, "items": [POD]}, [(), ("items", 0)]),
    ],
)
def test_each_object_has_the_path_to_it(document: Any, paths: list[tuple[str | int, ...]]) -> None:
    found = list(opened_with_paths(document))

    assert [path for path, _ in found] == paths
    assert [value for _, value in found] == list(opened(document))
    assert [value_at(document, path) for path in paths if path] == [value for path, value in found if path]


def test_items_without_a_kind_have_that_of_their_list() -> None:
    document = {"apiVersion": "v1", "kind": "PodList", "items": [{"spec": {}}]}

    assert list(opened_with_paths(document)) == [(("items", 0), {**POD, "spec": {}})]
