"""Which paths are named where one is not there."""

from __future__ import annotations

import difflib

import pytest

from vaporform_mcp.history import near_paths
from vaporform_mcp.types import WorkspacePath

TREE = [WorkspacePath(f"packages/part-{number % 300}/source-{number}.ts") for number in range(20_000)]


def test_a_file_of_that_name_is_named_wherever_it_lies() -> None:
    there = WorkspacePath("a/folder/that/lies/far/away/from/what/was/asked/for/Button.tsx")
    assert near_paths(WorkspacePath("button.tsx"), [*TREE, there]) == [there]


def test_a_name_with_a_slip_is_found_beside_it_however_many_paths_there_are() -> None:
    there = WorkspacePath("src/server.py")
    assert near_paths(WorkspacePath("src/sevrer.py"), [*TREE, there]) == [there]


def test_the_cost_of_a_hint_does_not_grow_with_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    get_close_matches = difflib.get_close_matches

    def counting(word: str, possibilities: list[str], n: int = 3, cutoff: float = 0.6) -> list[str]:
        compared.append(len(possibilities))
        return get_close_matches(word, possibilities, n, cutoff)

    monkeypatch.setattr(difflib, "get_close_matches", counting)
    near_paths(WorkspacePath("packages/nothing"), TREE)
    assert compared == [500]
