"""The list of what Daytona does unexpectedly: every row has its tests, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "emulators" / "daytona"
ROWS = [
    re.split(r" \| ", line.strip("| "))
    for line in (FOLDER / "SURPRISES.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| |")
]
NAMED = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


@cache
def functions_in(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_a_surprise_has_a_test_of_what_becomes_of_it_and_all_that_are_named_exist(row: list[str]) -> None:
    assert len(row) == 3
    assert NAMED.search(row[2])
    for sentence, place in NAMED.findall(f"{row[1]} {row[2]}"):
        assert f"test_{sentence.replace(' ', '_')}" in functions_in((FOLDER / place).resolve())


@pytest.mark.parametrize("file", ["test_daytona_faults.py", "test_daytona_sdk.py"])
def test_what_is_seen_of_faults_and_of_the_sdk_is_on_the_list(file: str) -> None:
    named = {f"test_{sentence.replace(' ', '_')}" for row in ROWS for sentence, _ in NAMED.findall(row[1])}
    of_the_emulator = {"test_requests_are_counted_with_their_bytes_and_delayed"}
    seen = {name for name in functions_in(FOLDER.parent / file) if name.startswith("test_")}
    assert seen - named <= of_the_emulator
