"""Figures and the result files that hold them, with the machine on which they were measured."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from anchore_admission import __version__

_LIBRARIES = ("aiohttp", "httptools", "httpx", "msgspec", "pydantic", "uvicorn", "uvloop")
TOLERANCE = 0.15
"""The part by which a figure may get worse before it counts as slower."""


@dataclass(frozen=True)
class Figure:
    """One measured number. Only a ``steady`` one is compared: others depend on the machine's other work.

    ``floor`` is what no controller can beat; ``goal`` is the worst value that we accept.
    """

    name: str
    about: str
    value: float
    unit: str
    goal: float | None = None
    floor: float | None = None
    steady: bool = True
    more_is_better: bool = False

    @property
    def misses_goal(self) -> bool:
        if self.goal is None:
            return False
        return self.value < self.goal if self.more_is_better else self.value > self.goal

    def change_since(self, earlier: "Figure | None") -> float | None:
        """Return the change as a part of the earlier value; None if there is none to compare with."""
        return self.value / earlier.value - 1 if earlier and earlier.value else None

    def is_worse_than(self, earlier: "Figure | None") -> bool:
        """Return whether the figure got worse by more than the tolerance."""
        change = self.change_since(earlier)
        if change is None or not self.steady:
            return False
        return (-change if self.more_is_better else change) > TOLERANCE


@dataclass(frozen=True)
class Machine:
    """What was measured, and where."""

    measured_at: str
    commit: str
    version: str
    processor: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    libraries: dict[str, str]
    load: float
    """Runnable processes in the last minute, at the start: other work on the machine."""


@dataclass(frozen=True)
class Result:
    """Everything that one run measured."""

    machine: Machine
    figures: Sequence[Figure]

    def named(self, name: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.name == name), None)


def this_machine() -> Machine:
    return Machine(
        measured_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        version=__version__,
        processor=_processor(),
        cores=os.cpu_count() or 0,
        memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        kernel=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
        load=round(os.getloadavg()[0], 1),
    )


def _commit() -> str:
    """Return the commit, with ``+changes`` if files differ from it; empty outside a repository."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--exclude=*", "--abbrev=10", "--dirty=+changes"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def save(result: Result, path: Path) -> None:
    path.write_text(json.dumps(asdict(result), indent=2) + "\n")


def load(path: Path) -> Result:
    document = json.loads(path.read_text())
    return Result(Machine(**document["machine"]), [Figure(**figure) for figure in document["figures"]])


def written(value: float) -> str:
    """Write a number with at most two decimals."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def table(result: Result, earlier: Result | None) -> Iterable[str]:
    """Write the figures as lines of text, each beside its floor, its goal and its earlier value."""
    width = max(len(figure.about) for figure in result.figures)
    yield f"{'':{width}}  {'measured':>9} {'floor':>7} {'goal':>7} {'before':>9}"
    for figure in result.figures:
        before = earlier.named(figure.name) if earlier else None
        change = figure.change_since(before)
        cells = (figure.floor, figure.goal, before.value if before else None)
        floor, goal, was = ("" if cell is None else written(cell) for cell in cells)
        marks = [
            "" if change is None else f"{change:+.0%}",
            "SLOWER" if figure.is_worse_than(before) else "",
            "MISSES ITS GOAL" if figure.misses_goal else "",
        ]
        line = f"{figure.about:{width}}  {written(figure.value):>9} {floor:>7} {goal:>7} {was:>9}  {figure.unit}"
        yield "  ".join([line, *filter(None, marks)])
