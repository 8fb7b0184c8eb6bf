"""docs/durability.md: its table is the one that the tests hold, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.durability.scene import COLUMNS
from tests.durability.test_survival import LEFT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")


def part(name: str) -> list[str]:
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", PAGE, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


TESTS = dict(re.findall(r"^- (\w): `([^`]+)`", "\n".join(part("tests")), re.MULTILINE))
HEAD, _, *ROWS = map(cells, part("table"))
NAMED = [(row[0], column, cell) for row in ROWS for column, cell in zip(HEAD[1:], row[1:], strict=True)]


def test_the_table_has_every_event_and_every_column() -> None:
    assert tuple(HEAD[1:]) == COLUMNS
    assert [row[0] for row in ROWS] == list(LEFT)


@pytest.mark.parametrize(("event", "column", "cell"), NAMED, ids=[f"{event}-{column}" for event, column, _ in NAMED])
def test_a_cell_says_what_its_test_found_and_names_its_tests(event: str, column: str, cell: str) -> None:
    found = re.fullmatch(r"(.+) \(((?:\w, )*\w)\)", cell)
    assert found is not None
    assert found[1] == LEFT[event][COLUMNS.index(column)]
    assert "a" in found[2].split(", ")
    assert set(found[2].split(", ")) <= TESTS.keys()


@pytest.mark.parametrize("named", sorted({*TESTS.values(), *re.findall(r"`(tests/\S+::\w+)`", PAGE)}))
def test_a_test_that_the_page_names_exists(named: str) -> None:
    file, _, function = named.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
