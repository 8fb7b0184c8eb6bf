"""The projects that are copied in the benchmark of the mirror, and the plot of its results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.mirror import PAGE, PLOT, RESULTS
from benchmarks.plot import write_plot
from benchmarks.projects import CHANGE, CHANGED, FILL, arguments
from vaporform_mcp.workspace.files import digest_of

COUNT = 120


def run(program: str, folder: Path, *numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run([sys.executable, *arguments(*numbers)], input=program.encode(), cwd=folder, check=True)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_of(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_makes_the_same_project_anywhere_and_another_one_another(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        run(FILL, tmp_path / name, COUNT, seed)
    one, same, other = (contents(tmp_path / name) for name in ("one", "same", "other"))
    assert len(one) == len(set(one.values())) == COUNT
    assert one == same
    assert set(one.values()).isdisjoint(other.values())


def test_each_turn_changes_ten_files(tmp_path: Path) -> None:
    run(FILL, tmp_path, COUNT, 1)
    for turn in (1, 2):
        before = contents(tmp_path)
        run(CHANGE, tmp_path, COUNT, turn)
        after = contents(tmp_path)
        assert after.keys() == before.keys()
        assert sum(after[path] != before[path] for path in after) == CHANGED


def test_the_plot_has_a_curve_for_each_subject_that_was_measured(tmp_path: Path) -> None:
    rows = [
        {
            "key": "first",
            "title": f"First copy of {count:,} files",
            "medians": {"vaporform-mcp": count / 9, "git": count},
        }
        for count in (100, 1_000, 10_000)
    ]
    results, plot = tmp_path / "mirror.json", tmp_path / "mirror.svg"
    results.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    write_plot(results, plot)
    drawn = ET.parse(plot)  # noqa: S314  # our own
    curves = drawn.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert [len(str(curve.get("points")).split()) for curve in curves] == [3, 3]


def test_the_page_and_its_plot_are_of_the_samples_that_are_kept(tmp_path: Path) -> None:
    write_plot(RESULTS, tmp_path / "mirror.svg")
    assert (tmp_path / "mirror.svg").read_bytes() == PLOT.read_bytes()
    page = PAGE.read_text(encoding="utf-8")
    for row in json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]:
        shown = re.search(rf"^\| {re.escape(row['title'])} .*$", page, re.MULTILINE)
        assert shown, row["title"]
        verdict = {None: "", True: "met", False: "**missed**"}[row["met"]]
        assert verdict in shown[0]
