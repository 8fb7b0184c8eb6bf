"""History, diff and checkpoints of a live workspace."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.workspace.conftest import Server, ServerFactory
from tests.workspace.helpers import eventually, opened, path, shell
from tests.workspace.seams import Gate, seam_server
from vaporform_mcp.errors import Conflict, InvalidArgument, NotFound, StoreUnavailable
from vaporform_mcp.types import ROOT
from vaporform_mcp.workspace import Workspace
from vaporform_mcp.workspace.results import Diff

WAIT_S = 30.0


async def diff_of(workspace: Workspace, start: str | None = None, end: str | None = None, *, under: str = "") -> Diff:
    return await workspace.diff(start, end, path(under), max_chars=10_000, wait_s=WAIT_S)


async def test_each_write_and_each_sync_is_a_revision_that_says_what_made_it(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one\n", made_by="write_to_file")
    await shell(workspace, "echo two > a.txt; echo b > b.txt")
    await workspace.checkpoint("two", wait_s=WAIT_S)
    found = await workspace.history(ROOT, before=None, limit=10)
    newest, *between, first = found.revisions
    assert (first.number, first.made_by, first.label) == (1, "write_to_file", None)
    assert (first.added, first.changed, first.removed) == (1, 0, 0)
    assert (newest.made_by, newest.label) == ("checkpoint", "two")
    # The command's own sync may come before the checkpoint's.
    later = [newest, *between]
    assert (sum(each.added for each in later), sum(each.changed for each in later)) == (1, 1)
    assert {each.made_by for each in between} <= {"execute_command: echo two > a.txt; echo b > b.txt"}


async def test_what_a_command_changed_is_a_revision_of_that_command(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "echo b > b.txt")

    async def mirrored() -> bool:
        return not workspace.mirror_state().pending

    await eventually(mirrored)
    (revision,) = (await workspace.history(ROOT, before=None, limit=10)).revisions
    assert revision.made_by == "execute_command: echo b > b.txt"


async def test_the_history_of_a_path_or_a_folder_has_only_what_touched_it_page_by_page(server: Server) -> None:
    workspace = await opened(server.manager)
    for number in range(3):
        await workspace.write(path("src/a.txt"), str(number).encode(), made_by="write_to_file")
        await workspace.write(path("b.txt"), str(number).encode(), made_by="write_to_file")
    for under in ("src", "src/a.txt"):
        first = await workspace.history(path(under), before=None, limit=2)
        assert ([each.number for each in first.revisions], first.has_more) == ([5, 3], True)
        rest = await workspace.history(path(under), before=3, limit=2)
        assert ([each.number for each in rest.revisions], rest.has_more) == ([1], False)
    assert (await workspace.history(path("none"), before=None, limit=2)).revisions == []


async def test_a_diff_compares_with_the_sandbox_as_it_is_at_that_moment(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one\n", made_by="write_to_file")
    await workspace.checkpoint("first", wait_s=WAIT_S)
    await shell(workspace, "echo two > a.txt; echo b > b.txt")
    found = await diff_of(workspace)
    assert (found.before.label, found.is_sandbox) == ("first", True)
    assert [(each.path, each.status) for each in found.changes] == [("a.txt", "changed"), ("b.txt", "added")]
    assert "-one\n+two" in found.shown.text
    assert [each.path for each in (await diff_of(workspace, "first", under="b.txt")).changes] == ["b.txt"]


async def test_a_diff_without_its_start_is_of_that_one_revision(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one\n", made_by="write_to_file")
    await workspace.write(path("a.txt"), b"two\n", made_by="write_to_file")
    found = await diff_of(workspace, None, "2")
    assert (found.before.number, found.after.number, found.is_sandbox) == (1, 2, False)
    assert (await diff_of(workspace, None, "1")).before.number == 0
    assert "+one\n-two" not in (await diff_of(workspace, "2", "1")).shown.text
    assert "-two\n+one" in (await diff_of(workspace, "2", "1")).shown.text


async def test_a_workspace_without_a_checkpoint_is_compared_with_its_beginning(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "echo b > b.txt")
    found = await diff_of(workspace)
    assert found.before.number == 0
    assert [each.status for each in found.changes] == ["added"]


async def test_a_checkpoint_is_made_also_where_nothing_changed_and_its_label_is_taken_then(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one\n", made_by="write_to_file")
    made = await workspace.checkpoint(" works ", wait_s=WAIT_S)
    assert (made.point.number, made.point.label, made.changed) == (2, "works", 0)
    with pytest.raises(Conflict, match="that of revision 2"):
        await workspace.checkpoint("works", wait_s=WAIT_S)
    with pytest.raises(InvalidArgument, match="number of a revision"):
        await workspace.checkpoint("2", wait_s=WAIT_S)
    assert (await server.store.head(workspace.record.id)).number == 2


async def test_what_a_command_changed_is_told_as_its_doing_whichever_call_looks_first(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "echo one > a.txt")
    await diff_of(workspace)
    await shell(workspace, "echo two > a.txt")
    await workspace.restore(await workspace.find("1"), ROOT, wait_s=WAIT_S, on_progress=lambda done, total: None)
    told = [each.made_by for each in (await workspace.history(ROOT, before=None, limit=10)).revisions]
    assert told == ["restore: to revision 1", "execute_command: echo two > a.txt", "execute_command: echo one > a.txt"]


async def test_a_checkpoint_that_takes_long_goes_on_and_the_same_call_joins_it(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "echo one > a.txt")
        gate = Gate()
        server.store.before["append"] = gate
        with pytest.raises(StoreUnavailable) as raised:
            await workspace.checkpoint("slow", wait_s=0.1)
        assert "the same call joins it" in raised.value.hint
        await gate.reached.wait()
        joined: list[int] = []

        async def join() -> None:
            joined.append((await workspace.checkpoint("slow", wait_s=WAIT_S)).point.number)

        async with anyio.create_task_group() as group:
            group.start_soon(join)
            gate.opened.set()
        labelled = await server.store.labelled(workspace.record.id, "slow")
        assert labelled is not None
        assert joined == [labelled.number]


async def test_an_unknown_point_changes_nothing_and_names_what_there_is(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one\n", made_by="write_to_file")
    await workspace.checkpoint("works", wait_s=WAIT_S)
    with pytest.raises(NotFound) as raised:
        await diff_of(workspace, "work")
    assert "works" in raised.value.hint
    with pytest.raises(NotFound, match="no revision 99 yet"):
        await diff_of(workspace, "1", "99")
    assert (await server.store.head(workspace.record.id)).number == 2


async def test_what_another_server_wrote_is_in_the_history_and_in_a_diff(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        one, two = await opened(first.manager), await opened(second.manager)
        await one.checkpoint("start", wait_s=WAIT_S)
        await two.write(path("a.txt"), b"from two\n", made_by="write_to_file")
        assert [each.path for each in (await diff_of(one)).changes] == ["a.txt"]
        assert len((await one.history(path("a.txt"), before=None, limit=5)).revisions) == 1
