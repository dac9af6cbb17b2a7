"""The proof rebuilds the image only when its sources have changed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT

SETTINGS = ROOT / "tools/image/settings.sh"
FILES = (
    *("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml"),
    *("requirements.txt", "requirements-build.txt", "src/product/module.py"),
)
BUILT = 'made_from >"$IMAGE_MADE_FROM" && touch "$IMAGE_ARCHIVE"'
"""A shell command that stands for a successful build."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The sources of an image, and an image built from them."""
    root = tmp_path / "checkout"
    for name in FILES:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (root / "tools/image").mkdir(parents=True)
    shutil.copy(SETTINGS, root / "tools/image")
    assert does(root, BUILT)
    return root


def does(root: Path, command: str) -> bool:
    """Return whether the script succeeds, with its own settings and a cache of this test."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(root.parent / "cache")}
    script = f"set -euo pipefail; . tools/image/settings.sh; {command}"
    return subprocess.run(["bash", "-c", script], cwd=root, env=environment, check=False).returncode == 0  # noqa: S603, S607 - our own script


@pytest.mark.parametrize(
    "change",
    [
        "echo more >>src/product/module.py",
        "echo more >>Dockerfile",
        "echo more >>tools/image/settings.sh",
        "touch src/product/new.py",
        "mv src/product/module.py src/product/renamed.py",
        "rm README.md",
        'rm "$IMAGE_ARCHIVE"',
        'rm "$IMAGE_MADE_FROM"',
    ],
)
def test_a_changed_name_or_content_needs_another_image(checkout: Path, change: str) -> None:
    assert does(checkout, change)

    assert not does(checkout, "is_current")


@pytest.mark.parametrize(
    "change",
    [
        "true",
        "touch -d tomorrow src/product/module.py",
        "mkdir src/product/__pycache__ && touch src/product/__pycache__/module.cpython-313.pyc src/product/module.pyc",
        "mkdir docs && touch docs/page.md",
    ],
)
def test_files_outside_the_image_do_not(checkout: Path, change: str) -> None:
    assert does(checkout, change)

    assert does(checkout, "is_current")


def test_an_archive_of_another_checkout_is_current_only_where_it_is_the_same(checkout: Path) -> None:
    other = checkout.with_name("other")
    shutil.copytree(checkout, other)
    assert does(other, "is_current")

    (other / "src/product/module.py").write_text("another")
    assert does(other, BUILT)

    assert not does(checkout, "is_current")
