"""``tools/e2e`` without the means to run: it never passes silently."""

import os
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT


def proof(**environment: str) -> tuple[int, str]:
    """Return exit code and output, with nothing built and an unreachable cluster."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("E2E")}
    done = subprocess.run(  # noqa: S603 - our own script
        [ROOT / "tools/e2e"], env=clean | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(("wanted", "code"), [("on", 0), ("required", 1)])
def test_tests_that_cannot_run_are_skipped_aloud_and_fail_where_required(
    tmp_path: Path, wanted: str, code: int
) -> None:
    another = {"E2E_KUBECONFIG": str(tmp_path / "none"), "E2E_IMAGE": "registry.example.com/anchore-admission:1"}

    ended, said = proof(E2E=wanted, E2E_CACHE=str(tmp_path), PATH="/usr/bin:/bin", **another)

    assert said.startswith("SKIPPED: the proof on a real Kubernetes: helm is not here")
    assert ended == code


@pytest.mark.parametrize("wanted", ["on", "required"])
def test_another_cluster_needs_an_image_that_it_can_pull(tmp_path: Path, wanted: str) -> None:
    ended, said = proof(E2E=wanted, E2E_KUBECONFIG=str(tmp_path / "none"), E2E_CACHE=str(tmp_path))

    assert "E2E_IMAGE has to name an image that the cluster of E2E_KUBECONFIG can pull" in said
    assert ended == 2


def test_it_can_be_skipped() -> None:
    assert proof(E2E="off") == (0, "SKIPPED: the proof on a real Kubernetes: E2E=off\n")


def test_a_word_it_does_not_know_is_an_error() -> None:
    ended, said = proof(E2E="OFF")

    assert "E2E is on, off or required, not 'OFF'" in said
    assert ended == 2
