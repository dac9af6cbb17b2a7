"""The end of ``tools/e2e``: its claims, and the cleanup after a killed pytest."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.cluster.cluster import why_not
from support.paths import ROOT

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SCRIPT = ROOT / "tools/e2e"
PYTHON = """#!/bin/sh
echo "$*" >>called
case "$*" in *pytest*) eval "$PYTEST" ;; esac
"""
"""A shell script in place of Python: it records its arguments, and as pytest ends as the test says."""
BUILD = '[ "$made" = no ] || touch "$IMAGE_ARCHIVE"\n'
SETTINGS = 'IMAGE_ARCHIVE=image.tar\nis_current() { [ -e "$IMAGE_ARCHIVE" ]; }\n'
DOWN = "-m e2e.cluster down"


@dataclass(frozen=True, slots=True)
class Checkout:
    root: Path

    def proof(self, *arguments: str, pytest_does: str, **environment: str) -> tuple[int, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("E2E")}
        done = subprocess.run(  # noqa: S603 - our own script
            [self.root / "tools/e2e", *arguments],
            env={**clean, "PYTEST": pytest_does, "made": "yes", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def called(self) -> list[str]:
        return (self.root / "called").read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """The script among others that stand for building the cluster and the image, and for Python."""
    programs = {"tools/image/build": f"#!/bin/sh\nIMAGE_ARCHIVE=image.tar\n{BUILD}", ".venv/bin/python": PYTHON}
    for name, text in {**programs, "tools/image/settings.sh": SETTINGS}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    shutil.copy(SCRIPT, tmp_path / "tools")
    return Checkout(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "claim"),
    [
        ((), "proved on a real Kubernetes in "),
        (("-k", "drain"), "a part of the proof, -k drain, passed on a real Kubernetes in "),
    ],
)
def test_it_claims_only_proved_results(checkout: Checkout, arguments: tuple[str, ...], claim: str) -> None:
    ended, said = checkout.proof(*arguments, pytest_does="exit 0")

    assert ended == 0
    assert said.startswith(claim)
    assert said.endswith("but for what is SKIPPED above\n")
    assert DOWN not in checkout.called


def test_without_an_image_it_claims_nothing(checkout: Checkout) -> None:
    ended, said = checkout.proof(pytest_does="exit 0", made="no")

    assert (ended, said) == (0, "SKIPPED: the proof on a real Kubernetes: there is no image, see above\n")


@pytest.mark.parametrize(
    ("pytest_does", "code", "is_down"),
    [("exit 1", 1, False), ("exit 2", 2, True), ("kill -TERM $$", 143, True), ("kill -KILL $$", 137, True)],
)
def test_leftovers_of_a_killed_pytest_are_removed(
    checkout: Checkout, pytest_does: str, code: int, is_down: bool
) -> None:
    ended, said = checkout.proof(pytest_does=pytest_does)

    assert ended == code
    assert "proved" not in said
    assert (DOWN in checkout.called) == is_down
