"""Documents generated from the chart's values are current, and `helm lint` finds nothing."""

import subprocess
import sys

import yaml

from support.charts import ANCHORE, CHART, run
from support.paths import ROOT


def test_the_readme_and_the_schema_are_current() -> None:
    command = [sys.executable, str(ROOT / "tools" / "chart_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own tool
    assert done.returncode == 0, done.stderr


def test_the_readme_names_every_value() -> None:
    table = (CHART / "README.md").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values
    for key, value in values.items():
        assert f"| `{key}`" in table or all(f"| `{key}.{below}" in table for below in value), key


def test_no_line_of_a_template_is_longer_than_160_columns() -> None:
    templates = [path for path in (CHART / "templates").rglob("*") if path.is_file()]
    long = [path.name for path in templates if max(map(len, path.read_text().splitlines())) > 160]
    assert templates
    assert long == []


def test_helm_lint_finds_nothing() -> None:
    assert "[WARNING]" not in run("helm", "lint", "--strict", str(CHART))
    said = run("helm", "lint", "--strict", str(CHART), "--values", "-", given=yaml.safe_dump(ANCHORE))
    assert "0 chart(s) failed" in said


def test_the_chart_can_be_packaged(tmp_path: object) -> None:
    assert "Successfully packaged" in run("helm", "package", str(CHART), "--destination", str(tmp_path))
