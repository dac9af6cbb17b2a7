"""The Go controller's files are read, and its selectors chosen, as the program itself does."""

import json
from typing import Any

import pytest

from anchore_admission.core.convert.original import Rejected, read_configuration, read_credentials
from support.go_selectors import ObjectMeta, Outcome, new_configuration, outcome_of
from support.paths import DATA

RECORDED = json.loads((DATA / "go-controller" / "selections.json").read_text())
KEYS = ("type", "key", "value", "username", "policy", "mode")
CONFIGURATIONS = RECORDED["configurations"]


def rejected(row: dict[str, Any]) -> list[str]:
    problems = []
    for read, document in ((read_configuration, row["config"]), (read_credentials, row.get("credentials"))):
        try:
            read(document)
        except Rejected as error:
            problems += [problem.path for problem in error.problems]
    return problems


@pytest.mark.parametrize("row", CONFIGURATIONS, ids=map(str, range(len(CONFIGURATIONS))))
def test_files_are_read_as_the_program_reads_them(row: dict[str, Any]) -> None:
    if "error" in row:
        assert rejected(row)
        return
    original = read_configuration(row["config"])
    selectors = [[s.resource_type, s.key, s.value, s.username, s.policy, s.mode] for s in original.selectors]
    users = {user.username: user.password for user in read_credentials(row.get("credentials")).users}
    first = dict(reversed(row["read"]["users"]))
    assert (original.request_analysis, original.endpoint) == (row["read"]["requestAnalysis"], row["read"]["endpoint"])
    assert selectors == row["read"]["selectors"]
    assert users == first


@pytest.mark.parametrize("row", [row for row in CONFIGURATIONS if "read" in row])
def test_the_model_selects_as_the_program_does(row: dict[str, Any]) -> None:
    namespaces = {name: ObjectMeta(name=name, **meta) for name, meta in RECORDED["namespaces"].items()}
    objects = [ObjectMeta(**meta) for meta in RECORDED["objects"]]
    selectors = [dict(zip(KEYS, selector, strict=True)) for selector in row["read"]["selectors"]]
    users = [name for name, _ in row["read"]["users"]]
    assert row["cases"]
    for (place, image), recorded in zip(row["cases"], row["outcomes"], strict=True):
        found = outcome_of(new_configuration(objects[place], image, selectors, namespaces), users)
        assert found == (Outcome(*recorded) if recorded else None), (objects[place], image)


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ([], [""]),
        ({"PolicySelectors": [{"Mode": "policy", "mode": "analysis"}]}, ["PolicySelectors[0].mode"]),
        ({"validator.requestAnalysis": True}, ["validator.requestAnalysis"]),
        (
            {"Validator": [], "PolicySelectors": "x", "AnchoreEndpoint": {}},
            ["Validator", "AnchoreEndpoint", "PolicySelectors"],
        ),
    ],
)
def test_a_file_whose_meaning_is_left_to_chance_is_rejected(document: Any, paths: list[str]) -> None:
    with pytest.raises(Rejected) as error:
        read_configuration(document)
    assert sorted(problem.path for problem in error.value.problems) == sorted(paths)


def test_a_password_is_never_shown() -> None:
    credentials = read_credentials({"users": [{"username": "admin", "password": "hunter2"}]})
    assert "admin" in repr(credentials)
    assert "hunter2" not in repr(credentials)
