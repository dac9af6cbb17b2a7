"""The nodes' control groups, below one of ours in every hierarchy: version 1 has several, version 2 has one."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.cluster.places import NAME

_MOUNTS: Final = Path("/sys/fs/cgroup")
_UNIFIED: Final = (_MOUNTS / "cgroup.controllers").exists()


@dataclass(frozen=True, slots=True)
class Hierarchy:
    mount: Path

    @property
    def own(self) -> Path:
        return self.mount / NAME

    def create(self, name: str) -> None:
        if (
            self.mount.name == "unified"
        ):  # beside those of version 1 it controls nothing; runc makes groups there itself
            return
        group = self.own / name
        group.mkdir(parents=True, exist_ok=True)
        if _UNIFIED:
            for parent in (self.mount, self.own, group):
                controllers = (parent / "cgroup.controllers").read_text().split()
                (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        elif (group / "cpuset.cpus").exists():
            for file in ("cpuset.cpus", "cpuset.mems"):
                for child in (self.own, group):
                    (child / file).write_text((self.mount / file).read_text())

    def processes(self, name: str = "") -> Iterator[int]:
        for file in (self.own / name).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                yield from map(int, file.read_text().split())

    def remove(self) -> None:
        if not self.own.exists():
            return
        for folder, _, _ in os.walk(self.own, topdown=False):
            with contextlib.suppress(OSError):  # one whose last process is not gone yet; the next start takes it over
                Path(folder).rmdir()


def _hierarchies() -> list[Hierarchy]:
    if _UNIFIED:
        return [Hierarchy(_MOUNTS)]
    return [Hierarchy(path) for path in sorted(_MOUNTS.iterdir()) if path.is_dir() and not path.is_symlink()]


GROUPS: Final = _hierarchies()


def processes(name: str = "") -> Iterator[int]:
    """Yield the processes in the Pods of our nodes, or of the node of this name."""
    for group in GROUPS:
        yield from group.processes(name)


def remove() -> None:
    for group in GROUPS:
        group.remove()
