"""The whole run: from its arguments to its report."""

from __future__ import annotations

import argparse
import compileall
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import cases, peers, sandbox_cases
from benchmarks.bench import Bench, Effort
from benchmarks.machine import circumstances
from benchmarks.report import Report, write_docs
from benchmarks.samples import Row
from benchmarks.subjects import ROOT, Subject, bare, ours, temporary_folder

__all__ = ["main"]

PAGE = ROOT / "docs/benchmarks.md"
QUICK = Effort(starts=5, calls=40, outputs=10, openings=4, weighings=2, projects=12)
ACTS = ("write", "read", "echo", "output")
NAMES = ("start", *ACTS, "first-command", "memory", "tools-list", "project")


def main(arguments: Sequence[str] | None = None) -> int:
    """Answers with the exit status: 0 also where a target is missed, since it is a report and no test."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.write_docs and (asked.quick or asked.only):
        parser.error("the page shows whole runs: --write-docs goes with neither --quick nor --only")
    names: Sequence[str] = asked.only or NAMES
    _compile()
    with temporary_folder() as folder:
        notes: list[str] = []
        subjects = [*_own(folder), *(() if asked.no_peers else _others(folder, notes))]
        bench = Bench(subjects=subjects, effort=QUICK if asked.quick else Effort())
        rows: list[Row] = []
        for name, measure in _measures(bench, names).items():
            print(f"measuring {name}", file=sys.stderr)
            rows += measure()
        report = Report(circumstances=circumstances(subjects, folder), rows=rows, notes=[*notes, *bench.notes])
    print(report.markdown())
    if asked.json:
        asked.json.write_text(report.json(), encoding="utf-8")
    if asked.write_docs:
        write_docs(PAGE, report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py", description="Measure this server beside a bare one of the same SDK, and others."
    )
    parser.add_argument("--quick", action="store_true", help="fewer samples: some two minutes instead of ten")
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}; can be repeated"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave the servers from npm out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    return parser


def _compile() -> None:
    """Compile what all servers import: whoever installs a server has it so, whatever this shell's variables say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # packages ship files for other Pythons, which are never imported
        for folder, levels in ((sysconfig.get_path("purelib"), 20), (ROOT / "src", 20), (ROOT / "benchmarks", 1)):
            compileall.compile_dir(str(folder), maxlevels=levels, quiet=2)


def _own(folder: Path) -> Sequence[Subject]:
    made: list[Subject] = []
    for make in (ours, bare):
        own = folder / make.__name__
        own.mkdir()
        made.append(make(own))
    return made


def _others(folder: Path, notes: list[str]) -> Sequence[Subject]:
    try:
        print("installing the servers from npm, where they are not yet", file=sys.stderr)
        peers.install()
        return peers.peers(folder)
    except peers.PeersMissing as error:
        notes.append(f"The servers from npm are left out: {error}.")
        return ()


def _measures(bench: Bench, names: Sequence[str]) -> Mapping[str, Callable[[], Sequence[Row]]]:
    """What is measured, by what is said meanwhile."""
    ordinary = os.geteuid() != 0
    asked_acts = [name for name in ACTS if name in names]
    every: Mapping[str, Callable[[], Sequence[Row]]] = {
        "start": lambda: cases.start(bench),
        ", ".join(asked_acts): lambda: cases.acts(bench, asked_acts),
        "first-command": lambda: sandbox_cases.first_command(bench, judged=ordinary),
        "memory": lambda: cases.memory(bench),
        "tools-list": lambda: cases.tools_list(bench),
        "project": lambda: sandbox_cases.large_project(bench),
    }
    return {name: measure for name, measure in every.items() if name and {*name.split(", ")} & {*names}}


if __name__ == "__main__":
    sys.exit(main())
