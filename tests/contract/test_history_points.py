"""Points of a history, over every store: a number or a label, and what is said where there is none."""

from __future__ import annotations

import pytest

from tests.contract.stores import make_workspace, write
from vaporform_mcp.errors import InvalidArgument, NotFound
from vaporform_mcp.history import BEGINNING, find, latest_checkpoint, newest, parse_label, point_before
from vaporform_mcp.stores.base import Store


async def history_of(store: Store, *labels: str | None) -> str:
    """A workspace with one revision for each of the labels."""
    workspace = await make_workspace(store)
    for number, label in enumerate(labels, 1):
        await write(store, workspace, {"n.txt": str(number).encode()}, label=label)
    return workspace


async def test_a_point_is_a_number_or_a_label_of_which_the_newest_counts(store: Store) -> None:
    workspace = await history_of(store, None, "works", "works", None)
    assert (await find(store, workspace, "2")).number == 2
    assert (await find(store, workspace, " #4 ")).number == 4
    point = await find(store, workspace, " works ")
    assert (point.number, point.label) == (3, "works")
    assert str(point) == "revision 3 (works)"
    assert await find(store, workspace, "0") == BEGINNING


async def test_a_number_that_is_not_there_yet_is_answered_with_the_newest(store: Store) -> None:
    workspace = await history_of(store, None, "works")
    with pytest.raises(NotFound) as raised:
        await find(store, workspace, "9")
    assert raised.value.message == "there is no revision 9 yet"
    assert raised.value.hint == "The newest is revision 2 (works)."


async def test_without_any_revision_that_is_what_is_said(store: Store) -> None:
    workspace = await make_workspace(store)
    with pytest.raises(NotFound, match="no revision 1") as raised:
        await find(store, workspace, "1")
    assert "nothing has been mirrored" in raised.value.hint
    with pytest.raises(NotFound) as raised:
        await find(store, workspace, "works")
    assert "no checkpoint" in raised.value.hint
    assert await newest(store, workspace) == BEGINNING


async def test_a_pruned_number_is_answered_with_the_nearest_on_both_sides(store: Store) -> None:
    workspace = await history_of(store, None, "early", *([None] * 20))
    await store.prune(workspace, keep_after=15, grace_s=0)
    with pytest.raises(NotFound) as raised:
        await find(store, workspace, "9")
    assert raised.value.message == "revision 9 was pruned"
    assert raised.value.hint == "The nearest that are kept: revision 2 (early) and revision 16."
    with pytest.raises(NotFound) as raised:
        await find(store, workspace, "1")
    assert raised.value.hint == "The nearest that are kept: revision 2 (early), the oldest."


async def test_an_unknown_label_is_answered_with_those_like_it_or_else_the_latest(store: Store) -> None:
    workspace = await history_of(store, "Login-works", "tests pass", None)
    with pytest.raises(NotFound) as raised:
        await find(store, workspace, "login work")
    assert raised.value.hint == "Near it: Login-works. The newest revision is revision 3."
    with pytest.raises(NotFound) as raised:
        await find(store, workspace, "zzzz")
    assert raised.value.hint == "The latest labels: tests pass, Login-works. The newest revision is revision 3."


async def test_the_latest_checkpoint_is_found_and_the_revision_before_one(store: Store) -> None:
    workspace = await history_of(store, "one", "two", None)
    assert await latest_checkpoint(store, workspace) == await find(store, workspace, "two")
    assert (await point_before(store, workspace, 2)).number == 1
    assert await point_before(store, workspace, 1) == BEGINNING
    assert await latest_checkpoint(store, await history_of_other(store)) is None


async def history_of_other(store: Store) -> str:
    workspace = await make_workspace(store, "other")
    await write(store, workspace, {"a": b"a"})
    return workspace


@pytest.mark.parametrize("label", ["", "  ", "12", "#12", "two\nlines", "a" * 101, "\x1b[1m"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_label(label)


@pytest.mark.parametrize("label", ["login works", "v1.2", "готово", "a" * 100, "2nd try"])
def test_a_label_is_a_line_of_any_script(label: str) -> None:
    assert parse_label(f" {label} ") == label
