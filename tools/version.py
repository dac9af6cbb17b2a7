#!/usr/bin/env python3
"""Set the release's version everywhere: ``tools/version.py X.Y.Z``. Without an argument, check that all places agree.

`version` in pyproject.toml is the source. The program reads it from its installed metadata; the chart, the kustomize
overlays, the examples and the documentation repeat it, because their readers see only that file.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NUMBER = r"\d+(?:\.\d+)+"
_PROJECT = re.compile(rf'^(version = ")({_NUMBER})(?=")', re.MULTILINE)
_CHART = re.compile(rf'^((?:version|appVersion): "?)({_NUMBER})', re.MULTILINE)
_IMAGE = re.compile(rf"(anchore-admission[:-]|\b(?:newT|t)ag: |app\.kubernetes\.io/version: )({_NUMBER})")
_RELEASE = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


def places(root: Path) -> Iterator[tuple[Path, re.Pattern[str]]]:
    """Return the files that name the version, each with the pattern whose second group is the version."""
    yield root / "pyproject.toml", _PROJECT
    yield root / "deploy" / "helm" / "anchore-admission" / "Chart.yaml", _CHART
    listed = ["git", "ls-files", "-z", "--", "README.md", "deploy", "docs", "examples"]
    for name in subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0"):  # noqa: S603 - git, by a fixed list
        if name.endswith((".md", ".yaml", ".yml")):
            yield root / name, _IMAGE


def current(root: Path = ROOT) -> str:
    """Return the version in pyproject.toml."""
    found = _PROJECT.search((root / "pyproject.toml").read_text())
    if not found:
        raise SystemExit("pyproject.toml: no version")
    return found[2]


def differing(root: Path = ROOT) -> list[str]:
    """Return the places that name another version than pyproject.toml: ``docs/image.md: anchore-admission:1.0``."""
    wanted = current(root)
    return [
        f"{path.relative_to(root)}: {found[0]}"
        for path, pattern in places(root)
        for found in pattern.finditer(path.read_text())
        if found[2] != wanted
    ]


def set_to(version: str, root: Path = ROOT) -> list[str]:
    """Write the version into every place; return the files that changed."""
    changed = []
    for path, pattern in places(root):
        before = path.read_text()
        after = pattern.sub(rf"\g<1>{version}", before)
        if after != before:
            path.write_text(after)
            changed.append(str(path.relative_to(root)))
    return changed


def main(arguments: list[str]) -> int:
    """Check the version, or set the given one."""
    match arguments:
        case []:
            sys.stdout.write(f"{current()}\n")
            sys.stderr.writelines(f"{line}\n" for line in differing())
            return 1 if differing() else 0
        case [version] if _RELEASE.fullmatch(version):
            sys.stdout.writelines(f"{name}\n" for name in set_to(version))
            return 0
        case _:
            sys.stderr.write("usage: tools/version.py [X.Y.Z]\n")
            return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
