"""The image is proved by ``make image``, which builds it before; numbers are told at the end."""

import os
from collections.abc import Callable

import pytest

from image.containers import ARCHIVE

Tell = Callable[[str, str], None]
_NUMBERS = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session", autouse=True)
def _image() -> None:
    if "IMAGE" not in os.environ:
        pytest.skip("`make image` builds and proves the image")
    if not ARCHIVE.exists():
        (pytest.fail if os.environ["IMAGE"] == "required" else pytest.skip)("there is no image")


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Tell:
    """Report a number."""
    numbers = pytestconfig.stash.setdefault(_NUMBERS, {})
    return numbers.__setitem__


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name, value in config.stash.get(_NUMBERS, {}).items():
        terminalreporter.write_line(f"{name}: {value}")
