"""Tests of the image for ``make image``, which builds it first; measurements are reported at the end."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from image.containers import ARCHIVE, SBOM

Report = Callable[[str, str], None]
_NUMBERS = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session", autouse=True)
def _image() -> None:
    if "IMAGE" not in os.environ:
        pytest.skip("`make image` builds and proves the image")
    _need(ARCHIVE, "image")


@pytest.fixture
def components() -> list[dict[str, Any]]:
    """Return the components in the bill of materials."""
    _need(SBOM, "bill of materials")
    listed: list[dict[str, Any]] = json.loads(SBOM.read_text())["components"]
    return listed


def _need(made: Path, what: str) -> None:
    """Skip where it could not be made, or fail where it is required."""
    if not made.exists():
        (pytest.fail if os.environ["IMAGE"] == "required" else pytest.skip)(f"there is no {what}")


@pytest.fixture(scope="session")
def report_number(pytestconfig: pytest.Config) -> Report:
    """Report a number."""
    numbers = pytestconfig.stash.setdefault(_NUMBERS, {})
    return numbers.__setitem__


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name, value in config.stash.get(_NUMBERS, {}).items():
        terminalreporter.write_line(f"{name}: {value}")
