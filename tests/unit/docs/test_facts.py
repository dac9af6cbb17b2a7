"""The pages' statements about settings and metrics are correct."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchore_admission.settings import PREFIX, Settings
from support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
_ROW = re.compile(r"^\| (`ANCHORE_ADMISSION_[^|]*) \| ([^|]*) \|", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_METRIC = re.compile(r"^\| `(anchore_admission_\w+)`", re.MULTILINE)
_LIKE_A_METRIC = re.compile(r"[a-z]+(?:_[a-z]+)*_(?:total|seconds|bytes|ratio|info)")


def _settings() -> Iterator[tuple[str, str]]:
    """The variables of the table with their defaults; a default beside several is that of each."""
    for names, defaults in _ROW.findall((DOCS / "configuration.md").read_text()):
        variables = _CODE.findall(names)
        values = defaults.replace("`", "").split(", ")
        yield from zip(variables, values * (len(variables) if len(values) == 1 else 1), strict=True)


def _name(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower()


def test_the_environment_holds_every_setting() -> None:
    named = [_name(variable) for variable, _ in _settings() if "<" not in variable and "…" not in variable]
    assert sorted(named) == sorted(Settings.model_fields)


@pytest.mark.parametrize(("variable", "default"), [row for row in _settings() if row[1] != "none"])
def test_a_default_is_as_documented(variable: str, default: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, default)
    assert getattr(Settings(), _name(variable)) == Settings.model_fields[_name(variable)].default


def _metrics() -> set[str]:
    """Return the metrics in operating.md; a contract test compares them with a running controller."""
    return set(_METRIC.findall((DOCS / "operating.md").read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_is_called_by_its_full_name(page: Path) -> None:
    known = _metrics()
    assert known
    words = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", page.read_text()))
    like = {word for word in words if word.startswith("anchore_admission_") or _LIKE_A_METRIC.fullmatch(word)}
    unknown = {word for word in like - known if not word.startswith("apiserver_")}
    short = {word for word in words if f"anchore_admission_{word}" in known}
    assert unknown | short == set()
