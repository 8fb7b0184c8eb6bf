"""docs/daytona.md: what its table says was verified has a place where it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "daytona.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("<!-- verified -->")[2].partition("<!-- /verified -->")[0]
ROWS = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in TABLE.strip().splitlines()[2:]]
LIVE = {"contract": "test_contract.py", "session": "test_session.py"}


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_a_capability_says_where_it_was_verified_or_that_it_was_not(row: list[str]) -> None:
    _, sdk, emulator, account = row
    assert sdk in {"yes", "no"}
    found = re.match(r"`(tests/\S+\.py)`", emulator)
    assert emulator == "no" or (found and (ROOT / found[1]).exists())
    assert account == "no" or (ROOT / "tests" / "live" / LIVE[account]).exists()


def test_the_page_says_that_no_account_was_there() -> None:
    assert "nobody has run it there yet" in " ".join(PAGE.split())
