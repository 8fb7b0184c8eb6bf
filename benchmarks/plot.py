"""The plot of a run of `mirror.py`, as SVG drawn from its samples: how each cost grows, on logarithmic axes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

__all__ = ["write_plot"]

COLOURS = {"vaporform-mcp": "#0969da", "git": "#cf222e", "rsync": "#1a7f37", "restic": "#9a6700"}
PANELS = (
    ("first", "First copy", "files"),
    ("again", "Ten changes", "files"),
    ("restore", "All files back", "files"),
    ("history", "history, the newest 50", "revisions"),
    ("tree", "Tree of the newest", "revisions"),
    ("tree-middle", "Tree of the middle one", "revisions"),
)
COLUMNS = 3
WIDTH, HEIGHT = 300, 230
LEFT, TOP, RIGHT, BOTTOM = 62, 34, 14, 40
LEGEND = 28

_COUNT = re.compile(r"([\d,]+) (?:files back|files|revisions)$")

Curves = Mapping[str, Sequence[tuple[int, float]]]
"""Of each subject: how many, and the median in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """From decades of values to a stretch of the page."""

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> Sequence[int]:
        return range(self.low, self.high + 1)


def write_plot(results: Path, plot: Path) -> None:
    """Draw what is in the JSON of a run."""
    rows = json.loads(results.read_text(encoding="utf-8"))["rows"]
    panels = [(title, unit, _curves(rows, key)) for key, title, unit in PANELS]
    width, height = COLUMNS * WIDTH, math.ceil(len(panels) / COLUMNS) * HEIGHT + LEGEND
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="11" fill="#24292f">'
        ),
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *_legend(),
    ]
    for number, (title, unit, curves) in enumerate(panels):
        if curves:
            x, y = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT + LEGEND
            parts += [f'<g transform="translate({x} {y})">', *_panel(title, unit, curves), "</g>"]
    plot.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def _curves(rows: Sequence[Mapping[str, object]], key: str) -> Curves:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        medians, count = row["medians"], _COUNT.search(str(row["title"]))
        if row["key"] == key and count is not None and isinstance(medians, dict):
            for name, value in medians.items():  # pyright: ignore[reportUnknownVariableType]  # of our own JSON
                curves.setdefault(str(name), []).append((int(count[1].replace(",", "")), float(str(value))))  # pyright: ignore[reportUnknownArgumentType]
    return curves


def _panel(title: str, unit: str, curves: Curves) -> list[str]:
    points = [point for curve in curves.values() for point in curve]
    across = _scale([count for count, _ in points], LEFT, WIDTH - RIGHT)
    up = _scale([value for _, value in points], HEIGHT - BOTTOM, TOP)
    parts = [_text(LEFT, TOP - 12, title, weight="bold"), _text(WIDTH - RIGHT, HEIGHT - 8, unit, anchor="end")]
    for decade in across.ticks:
        x = across.at(10**decade)
        parts += [_line(x, TOP, x, HEIGHT - BOTTOM), _text(x, HEIGHT - BOTTOM + 15, f"{10**decade:,}", anchor="middle")]
    for decade in up.ticks:
        y = up.at(10.0**decade)
        parts += [_line(LEFT, y, WIDTH - RIGHT, y), _text(LEFT - 6, y + 4, _duration(decade), anchor="end")]
    for name, curve in curves.items():
        places = [(across.at(count), up.at(value)) for count, value in curve]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[name]}"/>' for x, y in places]
    return parts


def _legend() -> list[str]:
    parts: list[str] = []
    for number, (name, colour) in enumerate(COLOURS.items()):
        x = LEFT + 130 * number
        parts += [f'<rect x="{x}" y="10" width="12" height="12" fill="{colour}"/>', _text(x + 18, 20, name)]
    return [*parts, _text(LEFT + 130 * len(COLOURS), 20, "medians; both axes logarithmic")]


def _scale(values: Sequence[float], start: float, end: float) -> _Scale:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return _Scale(low=low, high=max(high, low + 1), start=start, end=end)


def _duration(decade: int) -> str:
    return f"{10 ** (decade - 3):,} s" if decade >= 3 else f"{10.0**decade:g} ms"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d0d7de"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
