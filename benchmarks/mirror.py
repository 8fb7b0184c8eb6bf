"""Measure the mirror beside git, rsync and restic: `python benchmarks/mirror.py --help`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    # Started as a file, Python looks for modules in this folder instead of the project's.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import anyio

from benchmarks import mirror_cases, mirror_limits
from benchmarks.bench import Bench, Effort
from benchmarks.copies import GIT, Rival, rivals, version_of
from benchmarks.machine import here
from benchmarks.plot import write_plot
from benchmarks.report import Report, write_docs
from benchmarks.samples import OURS, Row
from benchmarks.subjects import ROOT, ours, temporary_folder

PAGE = ROOT / "docs/benchmarks.md"
RESULTS = ROOT / "benchmarks/results/mirror.json"
PLOT = ROOT / "docs/mirror.svg"
NAMES = ("copies", "revisions", "large")
ROUNDS = {100: 5, 1_000: 5, mirror_cases.COMPARED_FILES: 5, mirror_cases.WATCHED_FILES: 1}
QUICK_ROUNDS = {100: 2, 1_000: 2}
REVISIONS = (10, 100, 1_000, 10_000)
QUICK_REVISIONS = (10, 100)
ROWS = ("first", "again", "restore", "history", "tree", "tree-middle", "large-server", "large-supervisor")
IDLE_LOAD = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Answers with the exit status: 0 also where a target is missed, since it is a report and no test."""
    parser = argparse.ArgumentParser(prog="mirror.py", description="Measure the mirror beside git, rsync and restic.")
    parser.add_argument("--quick", action="store_true", help="small projects and few rounds")
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}; can be repeated"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="so many for each size of project but the largest")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there, as soon as it is taken")
    parser.add_argument("--write-docs", action="store_true", help="put tables and plot into docs/, samples beside this")
    asked = parser.parse_args(arguments)
    if asked.write_docs and (asked.quick or asked.only):
        parser.error("the page shows whole runs: --write-docs goes with neither --quick nor --only")
    report = anyio.run(_measure, asked)
    sys.stdout.write(report.markdown())
    if asked.write_docs:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(report.json(), encoding="utf-8")
        write_docs(PAGE, report, "mirror measured")
        write_plot(RESULTS, PLOT)
    return 0


async def _measure(asked: argparse.Namespace) -> Report:
    notes = _load_notes()
    present, versions = await _present(notes)
    with temporary_folder() as folder:
        report = Report(circumstances=here(folder, versions), rows=[], notes=notes, baseline=GIT)
        rows: list[Row] = []
        for what, measure in _measures(folder, asked, present, notes):
            sys.stderr.write(f"measuring {what}\n")
            rows += await measure()
            # Those of one kind together, whatever the order in which they were measured.
            report = dataclasses.replace(report, rows=sorted(rows, key=lambda row: ROWS.index(row.key)))
            if asked.json:
                asked.json.write_text(report.json(), encoding="utf-8")
        return report


def _measures(
    folder: Path, asked: argparse.Namespace, present: Sequence[Rival], notes: list[str]
) -> Iterator[tuple[str, Callable[[], Awaitable[Sequence[Row]]]]]:
    """What is to be measured, by what is said meanwhile; the longest last."""
    names: Sequence[str] = asked.only or NAMES
    rounds = QUICK_ROUNDS if asked.quick else ROUNDS
    *others, largest = (
        (
            f"copies of {count:,} files",
            partial(
                mirror_cases.copies,
                folder,
                # The largest would take the slower ones many minutes, and is there for the mirror's own curve.
                [each for each in present if count <= mirror_cases.COMPARED_FILES or each.name == GIT],
                count,
                times if times == 1 else asked.rounds or times,
                notes,
            ),
        )
        for count, times in rounds.items()
    )
    if "copies" in names:
        yield from others
    if "revisions" in names:
        counts = QUICK_REVISIONS if asked.quick else REVISIONS
        yield "revisions", partial(mirror_limits.revisions, folder, counts)
    if "large" in names:
        yield "a large file", lambda: anyio.to_thread.run_sync(_large, folder, notes)
    if "copies" in names:
        yield largest


async def _present(notes: list[str]) -> tuple[Sequence[Rival], Sequence[tuple[str, str]]]:
    present: list[Rival] = []
    versions = [(OURS, importlib.metadata.version(OURS))]
    for rival in rivals():
        version = await version_of(rival)
        if version is None:
            notes.append(f"{rival.name} is not installed here, and left out.")
        else:
            present.append(rival)
            versions.append((rival.name, version))
    return present, versions


def _large(folder: Path, notes: list[str]) -> Sequence[Row]:
    own = folder / "large"
    own.mkdir()
    subject = ours(own)
    subject = dataclasses.replace(subject, extra={**subject.extra, **mirror_limits.LARGE})
    bench = Bench(subjects=[subject], effort=Effort())
    rows = mirror_limits.large_file(bench)
    notes += bench.notes
    return rows


def _load_notes() -> list[str]:
    load = os.getloadavg()[0]
    if load <= IDLE_LOAD:
        return []
    return [
        f"The machine had other work: its load was {load:.1f} when the run began. Read the ratios, and these with care."
    ]


if __name__ == "__main__":
    sys.exit(main())
