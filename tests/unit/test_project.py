"""The files for contributors and their tools name only what exists."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PINNED = re.compile(r"^ *- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in loaded(path)["jobs"].values() for step in job["steps"]]


def test_the_files_are_found() -> None:
    assert {path.name for path in (*WORKFLOWS, *FORMS)} == {"ci.yml", "bug.yml", "config.yml", "feature.yml"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_pins_its_actions_and_requests_no_rights(path: Path) -> None:
    uses = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert uses
    assert [line for line in uses if not PINNED.match(line)] == []
    assert loaded(path)["permissions"] == {}
    assert {str(job["permissions"]) for job in loaded(path)["jobs"].values()} == {"{'contents': 'read'}"}


def test_hosted_ci_runs_parts_of_ci_on_every_python_that_is_named() -> None:
    parts = re.findall(r"^ +(\w+)\) .*;;$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert {"check", "test", "image", "e2e"} <= set(parts)
    (workflow,) = WORKFLOWS
    run = {step["run"].removeprefix(".ci/run ") for step in steps(workflow) if "run" in step}
    assert run == {"check", "test"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)}
    assert named
    assert named <= set(loaded(workflow)["jobs"]["test"]["strategy"]["matrix"]["python-version"])


def test_a_hook_runs_a_tool_of_the_virtual_environment_or_of_this_repository() -> None:
    """Nothing is downloaded that is not locked with its hash."""
    (repository,) = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    commands = [hook["entry"].split() for hook in repository["hooks"] if hook["language"] == "system"]
    assert commands
    packages = {".venv/bin/ruff": "ruff", ".venv/bin/mypy": "mypy", ".venv/bin/lint-imports": "import-linter"}
    locked = (ROOT / "requirements-dev.txt").read_text()
    for program, *arguments in commands:
        if program == ".venv/bin/python":
            assert (ROOT / arguments[0]).is_file()
        else:
            assert f"\n{packages[program]}==" in locked


@pytest.mark.parametrize("path", [path for path in FORMS if path.name != "config.yml"], ids=lambda path: path.name)
def test_a_form_leads_to_pages_that_exist(path: Path) -> None:
    form = loaded(path)
    assert form["name"]
    assert form["description"]
    assert any(field.get("validations", {}).get("required") for field in form["body"])
    for page in re.findall(r"\.\./blob/main/([\w./-]+)", path.read_text()):
        assert (ROOT / page).is_file()
