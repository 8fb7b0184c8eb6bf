"""What stays out of the mirror, by the defaults and by lines in gitignore syntax."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from vaporform_mcp.exclusions import Exclusions, faulty_lines
from vaporform_mcp.types import parse_path

NAMES = ("a", "b", "c.log", "d.py", "dist")
PATTERNS = ("a", "b", "*", "*.log", "*.py", "dist", "a/b", "b/*", "**/a", "/a", "/b/dist", "[ab]", "?")


def excluded(rules: Exclusions, *names: str) -> list[bool]:
    return [rules.is_excluded(parse_path(name)) for name in names]


def test_by_default_what_is_made_again_stays_out_wherever_it_lies() -> None:
    rules = Exclusions()
    assert excluded(rules, "node_modules/a.js", "web/.venv/x", "a/b/dist/c", "x.pyc", ".git/HEAD") == [True] * 5
    assert excluded(rules, "src/a.js", "dist", "node_modules.txt", "a/target.py") == [False] * 4


def test_later_lines_add_to_the_defaults_and_take_them_back() -> None:
    rules = Exclusions(["data/", "!build/", "*.bin"]).extended(["!keep.bin", "/only/"])
    assert excluded(rules, "data/x", "a/data/x", "a.bin", "only/x", "node_modules/x") == [True] * 5
    assert excluded(rules, "build/x", "keep.bin", "a/only/x", "data") == [False] * 4
    assert excluded(rules, "build/node_modules/x") == [True]


def test_a_scan_passes_over_names_that_no_line_takes_back() -> None:
    assert {"node_modules", "build"} <= Exclusions().pruned_names
    rules = Exclusions(["data/", "logs", "*.bin", "a/b/", "!/web/build/", "!.ven?"])
    assert {"node_modules", "data", "logs"} <= rules.pruned_names
    assert {"build", ".venv", "b", "*.bin"}.isdisjoint(rules.pruned_names)


def test_comments_and_lines_that_are_no_pattern_are_passed_over() -> None:
    lines = ["# all logs", "", "   ", "!", "*.log"]
    assert excluded(Exclusions(lines), "a.log", "a.txt") == [True, False]
    assert faulty_lines(lines) == ["!"]


@pytest.mark.parametrize("seed", range(12))
def test_what_git_would_ignore_stays_out_and_nothing_else(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # the same on every run
    lines = [
        chance.choice(("", "", "!")) + chance.choice(PATTERNS) + chance.choice(("", "/"))
        for _ in range(chance.randint(1, 5))
    ]
    for _ in range(60):
        path = tmp_path.joinpath(*(chance.choice(NAMES) for _ in range(chance.randint(1, 4))))
        if not any(above.is_file() for above in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    ignore = tmp_path / ".git" / "info" / "exclude"
    ignore.parent.mkdir(exist_ok=True)
    ignore.write_text("\n".join(["dist/", *lines]) + "\n", encoding="utf-8")
    done = subprocess.run(
        ["git", "-C", tmp_path, "ls-files", "-z", "-o", "--exclude-from=.git/info/exclude"],
        capture_output=True,
        check=True,
    )
    rules = Exclusions(lines)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and ".git" not in path.parts]
    kept = {name for path in files if not rules.is_excluded(parse_path(name := str(path.relative_to(tmp_path))))}
    assert kept == set(done.stdout.decode().split("\0")) - {""}, lines
