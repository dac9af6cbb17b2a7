"""The map in CONTRIBUTING.md names every module once, in the words of its docstring."""

import re
import runpy

import pytest

from support.paths import ROOT

TOOL = runpy.run_path(str(ROOT / "tools" / "source_map.py"))
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SOURCE = ROOT / "src" / "anchore_admission"


def test_the_map_is_current() -> None:
    assert TOOL["with_map"](PAGE) == PAGE, "run `make map`"


def test_every_module_stands_in_it_once_and_is_described() -> None:
    lines = re.findall(r"^- `(\S+\.py)`: (.*)$", TOOL["source_map"](), re.MULTILINE)
    modules = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if path.name != "__init__.py"}
    assert sorted(name for name, _ in lines) == sorted(modules)
    assert [name for name, summary in lines if len(summary) < 10] == []


@pytest.mark.parametrize("page", ["", PAGE + PAGE])
def test_a_page_without_a_place_for_the_map_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="expected one"):
        TOOL["with_map"](page)
