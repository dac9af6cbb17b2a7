"""There is one version: all copies agree with pyproject.toml."""

import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from anchore_admission import __version__
from support.paths import ROOT

CHART = "deploy/helm/anchore-admission/Chart.yaml"
REPEATED = {
    "pyproject.toml": '[project]\nname = "anchore-admission"\nversion = "1.2.3"\n',
    CHART: 'version: 1.2.3\nappVersion: "1.2.3"\nkubeVersion: ">=1.25.0-0"\n',
    "deploy/kustomize/base/deployment.yaml": "image: localhost/anchore-admission:1.2.3\n",
    "deploy/kustomize/base/service.yaml": "app.kubernetes.io/version: 1.2.3\n",
    "docs/install.md": "newTag: 1.2.3 and anchore-admission-1.2.3.tgz, but nginx:1.2.3\n",
    "examples/values.yaml": "image: {tag: 1.2.3}\n",
}


@pytest.fixture(name="tool")
def _tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "version.py"))


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    for name, text in REPEATED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for command in (["git", "init", "--quiet"], ["git", "add", "."]):
        subprocess.run(command, cwd=tmp_path, check=True)  # noqa: S603 - git, by a fixed list
    return tmp_path


def test_no_file_names_another_version(tool: dict[str, Any]) -> None:
    assert tool["differing"]() == []


def test_the_program_is_the_version_of_its_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert __version__ == project["version"], "make venv"


def test_a_new_version_reaches_every_place(tool: dict[str, Any], project: Path) -> None:
    assert sorted(tool["set_to"]("1.3.0", project)) == sorted(REPEATED)

    assert {name: (project / name).read_text() for name in REPEATED} == {
        name: text.replace("1.2.3", "1.3.0").replace("nginx:1.3.0", "nginx:1.2.3") for name, text in REPEATED.items()
    }
    assert tool["differing"](project) == []


@pytest.mark.parametrize("name", [name for name in REPEATED if name != "pyproject.toml"])
def test_a_place_left_behind_is_named(name: str, tool: dict[str, Any], project: Path) -> None:
    (project / name).write_text(REPEATED[name].replace("1.2.3", "1.2.2"))

    assert {line.partition(":")[0] for line in tool["differing"](project)} == {name}


@pytest.mark.parametrize("arguments", [["1.2"], ["v1.2.3"], ["1.2.3-rc1"], ["1.2.3", "1.2.4"]])
def test_anything_but_one_release_is_rejected(
    arguments: list[str], tool: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool["main"](arguments) == 2
    assert "usage" in capsys.readouterr().err
