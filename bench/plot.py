"""A dot plot on a logarithmic scale, as SVG: values that differ forty times stay readable beside each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _ROW, _HEAD, _FOOT = 720, 200, 60, 26, 62, 30
_COLORS = ("#8c959f", "#0969da", "#bc4c00")
_INK, _FAINT = "#24292f", "#d0d7de"


@dataclass(frozen=True)
class Panel:
    """One plot: a row of dots for each label, at most one of each series."""

    title: str
    rows: Mapping[str, Sequence[float | None]]
    low: float
    high: float
    ticks: Sequence[float]

    @property
    def height(self) -> int:
        return _HEAD + _ROW * len(self.rows) + _FOOT

    def x(self, value: float) -> float:
        part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    def shapes(self, series: Sequence[str]) -> list[str]:
        bottom = _HEAD + _ROW * len(self.rows)
        shapes = [_text(12, 22, self.title, weight="bold")]
        x = 12.0
        for name, color in zip(series, _COLORS, strict=True):
            shapes += [_dot(x + 5, 40, color), _text(x + 15, 44, name)]
            x += 34 + 7 * len(name)
        for tick in self.ticks:
            shapes += [_line(self.x(tick), _HEAD - 6, bottom), _text(self.x(tick), bottom + 16, f"{tick:,}", "middle")]
        for row, (label, values) in enumerate(self.rows.items()):
            y = _HEAD + _ROW * row + _ROW / 2
            shapes.append(_text(_LEFT - 12, y + 4, label, "end"))
            for value, color in zip(values, _COLORS, strict=True):
                if value is not None:
                    shapes.append(_dot(self.x(value), y, color, f"{label}: {value:,.4g}"))
        return shapes


def drawn(panels: Sequence[Panel], series: Sequence[str]) -> str:
    """Return the panels one below the other, as an SVG document."""
    height = sum(panel.height for panel in panels)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    top = 0
    for panel in panels:
        lines += [f'<g transform="translate(0 {top})">', *panel.shapes(series), "</g>"]
        top += panel.height
    return "\n".join([*lines, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-weight="{weight}" fill="{_INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _line(x: float, top: float, bottom: float) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{_FAINT}"/>'


def _dot(x: float, y: float, color: str, title: str = "") -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="{color}"><title>{escape(title)}</title></circle>'
