"""The policies in docs/examples/opa, checked and tested by the real OPA."""

import json
from pathlib import Path

import pytest

from support.charts import run
from support.paths import DOCS

FOLDER = DOCS / "examples" / "opa"
COMMON = FOLDER / "common.rego"
POLICIES = sorted(path for path in FOLDER.glob("*.rego") if not path.stem.endswith("_test") and path != COMMON)

policies = pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)


def test_the_policies_compile_and_are_formatted() -> None:
    assert run("opa", "check", "--strict", str(FOLDER)) == ""
    assert run("opa", "fmt", "--list", str(FOLDER)) == ""


def test_the_tests_of_the_policies_pass_and_reach_every_line() -> None:
    rows = json.loads(run("opa", "test", str(FOLDER), "--format", "json"))
    tested = {Path(row["location"]["file"]).name for row in rows}
    report = json.loads(run("opa", "test", str(FOLDER), "--coverage", "--format", "json"))

    assert tested == {f"{path.stem}_test.rego" for path in [COMMON, *POLICIES]}
    assert [row["name"] for row in rows if row.get("fail") or row.get("skip")] == []
    assert {Path(name).name for name, file in report["files"].items() if file.get("not_covered")} == set()


@policies
def test_a_policy_decides_with_the_common_file_alone(policy: Path) -> None:
    """The common file has the rule ``deny`` that every answer needs."""
    query = ("opa", "eval", "--strict-builtin-errors", "--format", "raw", "--stdin-input", "data.anchore.admission")
    document = json.dumps({"anchoreAdmission": {"input": 1}, "images": [], "request": {"object": {}}})

    decision = json.loads(run(*query, "--data", str(COMMON), "--data", str(policy), given=document))

    assert decision["deny"] == []
    assert decision["images"] == {}
