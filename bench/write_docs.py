"""Write the measured part of ``docs/performance.md`` and its plot from a result file."""

import re
from pathlib import Path

from bench.figures import Figure, Machine, Result, written
from bench.plot import Panel, drawn

_DOCS = Path(__file__).parents[1] / "docs"
PAGE = _DOCS / "performance.md"
PICTURE = _DOCS / "pictures" / "performance.svg"
_PARTS = re.compile(r"(<!-- (figures|machine): make bench-docs writes this -->\n).*?(<!-- end -->)", re.DOTALL)

# Measured 2026-11-23 with TLS and a real API server in front, see the page.
GO_CONTROLLER = {
    "warm.cpu": 2700,
    "cold.1.ms": 104,
    "cold.4.ms": 412,
    "cold.10.ms": 1024,
    "cold.40.ms": 4104,
    "storm.one": 80,
    "memory.idle": 65,
    "memory.busy": 104,
}
"""The figures of Anchore's Go controller 0.8.4 by the names of ours; of a range, the middle."""
_STORMS = {
    "one": "one replica",
    "official": "one, official images",
    "three": "three replicas",
    "shared": "three, shared store",
    "paced": "the same, 100 Pods/s",
}
_SERIES = ("floor", "anchore-admission", "Go controller 0.8.4")


def write(result: Result) -> None:
    PAGE.write_text(page(PAGE.read_text(), result))
    PICTURE.write_text(picture(result))


def page(text: str, result: Result) -> str:
    """Return the page with the parts between its markers replaced."""
    parts = {"figures": _figures(result), "machine": _machine(result.machine)}
    return _PARTS.sub(lambda found: f"{found[1]}\n{parts[found[2]]}\n\n{found[3]}", text)


def picture(result: Result) -> str:
    return drawn([_latency(result), _calls(result)], _SERIES)


def _figures(result: Result) -> str:
    rows = [
        f"| {figure.about} | {written(figure.value)} {figure.unit} | {_cell(figure.floor)} | {_goal(figure)} "
        f"| {_cell(GO_CONTROLLER.get(figure.name))} |"
        for figure in result.figures
    ]
    return "\n".join(["| case | measured | floor | goal | Go controller 0.8.4 |", "|---|---|---|---|---|", *rows])


def _cell(value: float | None) -> str:
    return "" if value is None else written(value)


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    goal = f"{'at least' if figure.more_is_better else 'at most'} {written(figure.goal)}"
    return f"{goal}: **missed**" if figure.misses_goal else goal


def _machine(machine: Machine) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return (
        f"Measured {machine.measured_at} at commit `{machine.commit}`, version {machine.version}: {machine.processor}, "
        f"{machine.cores} cores, {machine.memory_gb:g} GB, {machine.kernel}, Python {machine.python}; {libraries}. "
        f"Load average at the start: {machine.load:g}."
    )


def _latency(result: Result) -> Panel:
    sizes = (1, 4, 10, 40)
    rows = {f"{size} image{'s' * (size > 1)}": _row(result, f"cold.{size}.ms") for size in sizes}
    ticks = (100, 200, 500, 1000, 2000, 5000)
    return Panel("Cold Pod: ms to the verdict, an Anchore of 50 ms per call", rows, 90, 5000, ticks)


def _calls(result: Result) -> Panel:
    rows = {label: _row(result, f"storm.{name}") for name, label in _STORMS.items()}
    title = "1,000 Pods over 50 images: calls to Anchore per distinct image"
    return Panel(title, rows, 1, 100, (1, 2, 5, 10, 20, 50, 100))


def _row(result: Result, name: str) -> list[float | None]:
    figure = result.named(name)
    measured = [figure.floor, figure.value] if figure else [None, None]
    return [*measured, GO_CONTROLLER.get(name)]
