"""The tables of a run: for the terminal, for docs/benchmarks.md, and as JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Circumstances
from benchmarks.samples import BARE, OURS, Row, Target, Unit, median, p95

__all__ = ["Report", "write_docs"]

TIMES = "\N{MULTIPLICATION SIGN}"
NOTHING = "\N{EN DASH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of a run. `notes`: what is missing and why, a sentence each. `baseline`: beside whom the others stand."""

    circumstances: Circumstances
    rows: Sequence[Row]
    notes: Sequence[str]
    baseline: str = BARE

    def markdown(self) -> str:
        about = self.circumstances
        versions = ", ".join(f"{name} {version}" for name, version in about.versions)
        parts = [
            f"Measured on {about.date} as {about.user}: {about.machine}. {versions}.",
            _beside_others([row for row in self.rows if row.baseline == self.baseline and row.samples], self.baseline),
            _alone([row for row in self.rows if row.baseline != self.baseline and row.samples]),
            "\n".join(f"- {note}" for note in self.notes),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def json(self) -> str:
        """Every sample, in the order in which it was taken."""
        rows = [
            {**dataclasses.asdict(row), "ratio": row.ratio, "met": row.met, "medians": _medians(row)}
            for row in self.rows
        ]
        whole = {"circumstances": dataclasses.asdict(self.circumstances), "rows": rows, "notes": list(self.notes)}
        return json.dumps(whole, indent=1) + "\n"


def write_docs(page: Path, report: Report, what: str = "measured") -> None:
    """Put the tables into the page, in place of those of the last run by the same kind of user."""
    begin, end = f"<!-- {what} as {report.circumstances.user} -->", "<!-- end -->"
    old = page.read_text(encoding="utf-8")
    new, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{report.markdown()}\n{end}",
        old,
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{page.name} has no place for it: it should contain {begin} and {end}")
    page.write_text(new, encoding="utf-8")


def _beside_others(rows: Sequence[Row], baseline: str) -> str:
    present = {name for row in rows for name in row.samples}
    peers = sorted(present - {OURS, baseline})
    header = ["Median (95th percentile)", OURS, baseline, "ratio", "target", "", *peers]
    return _table(
        header, [[*_cells(row, baseline, named=True), *(_value(row, peer) for peer in peers)] for row in rows]
    )


def _alone(rows: Sequence[Row]) -> str:
    header = ["Median (95th percentile)", OURS, "beside", "ratio", "target", ""]
    return _table(header, [_cells(row, row.baseline) for row in rows])


def _cells(row: Row, baseline: str | None, *, named: bool = False) -> list[str]:
    """`named`: the header tells already what stands beside."""
    beside = _value(row, baseline) if baseline else NOTHING
    if baseline is not None and not named:
        beside = f"{beside} in an {baseline}"
    ratio = NOTHING if row.ratio is None else f"{row.ratio:.2f}{TIMES}"
    met = {None: "", True: "met", False: "**missed**"}[row.met]
    return [row.title, _value(row, OURS), beside, ratio, _target(row.target, row.unit), met]


def _target(target: Target | None, unit: Unit) -> str:
    if target is None:
        return NOTHING
    return f"≤ {target.limit:.1f}{TIMES}" if target.relative else f"≤ {_number(target.limit, unit)}"


def _value(row: Row, subject: str) -> str:
    values = row.samples.get(subject)
    if not values:
        return NOTHING
    spread = f" ({_number(p95(values), row.unit)})" if len(values) > 1 else ""
    return _number(median(values), row.unit) + spread


def _number(value: float, unit: Unit) -> str:
    match unit:
        case "bytes":
            return f"{value:,.0f} bytes"
        case "MB":
            return f"{value:.1f} MB"
        case "ms":
            return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def _medians(row: Row) -> dict[str, float]:
    return {name: median(values) for name, values in row.samples.items()}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * max(width, 3) for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
