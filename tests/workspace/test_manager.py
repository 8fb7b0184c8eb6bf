"""One workspace and several who open, delete and close it at the same time: nobody loses what another one has."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.workspace.helpers import NAME, OWNER, WAIT_S, eventually, opened, path, run, shell
from tests.workspace.seams import Gate, SeamServer, seam_server
from vaporform_mcp.errors import NotFound, SandboxUnavailable, StoreUnavailable, VaporformError
from vaporform_mcp.manager import OpenRequest
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.types import TRASH_DAYS, WorkspaceName
from vaporform_mcp.workspace import Workspace
from vaporform_mcp.workspace.results import Written

OTHER = WorkspaceName("other")


async def unavailable() -> None:
    raise SandboxUnavailable("it is in use by another version")


async def store_down() -> None:
    raise StoreUnavailable("the disk is full")


async def bug() -> None:
    raise RuntimeError("a bug")


async def states(server: SeamServer) -> list[str]:
    return sorted(summary.state for summary in await server.manager.list(OWNER))


async def synced(workspace: Workspace) -> None:
    async def is_synced() -> bool:
        return not workspace.mirror_state().pending

    await eventually(is_synced)


# Opening -------------------------------------------------------------------------------------------------------


async def test_an_opening_that_fails_leaves_a_workspace_alone_that_another_server_works_in(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as failing, seam_server(tmp_path) as working:
        made = failing.store.after["create_workspace"] = Gate()
        failing.provider.before["acquire"] = unavailable
        working.store.before["put_blobs"] = store_down

        async def fail() -> None:
            with pytest.raises(SandboxUnavailable, match="another version"):
                await opened(failing.manager)

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await made.reached.wait()
            await shell(await opened(working.manager), "echo hours of work > precious")
            made.opened.set()
        workspace = await opened(working.manager)
        assert await shell(workspace, "cat precious") == "hours of work\n"
        assert workspace.take_notices() == []


async def test_an_opening_that_fails_leaves_a_workspace_alone_that_another_server_is_opening(tmp_path: Path) -> None:
    async with seam_server(tmp_path, lock_limit_s=0.5) as failing, seam_server(tmp_path) as working:
        made = failing.store.after["create_workspace"] = Gate()
        marking = Gate()
        cloned: list[Workspace] = []
        failed = anyio.Event()

        async def fail() -> None:
            with pytest.raises(VaporformError):
                await opened(failing.manager)
            failed.set()

        async def work() -> None:
            cloned.append(await opened(working.manager))

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await made.reached.wait()
            working.store.before["tree"] = marking  # within the exclusive lock, before anything is restored
            group.start_soon(work)
            await marking.reached.wait()
            made.opened.set()
            await failed.wait()
            marking.opened.set()
        assert await shell(cloned[0], "echo fine") == "fine\n"


async def test_a_bug_while_tidying_up_after_a_failed_opening_leaves_the_other_workspaces_alone(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        other = await opened(server.manager, OTHER)
        server.provider.before |= {"acquire": unavailable, "destroy": bug}
        with pytest.raises(SandboxUnavailable, match="another version"):
            await opened(server.manager)
        server.provider.before.clear()
        assert await shell(other, "echo fine") == "fine\n"
        assert await shell(await opened(server.manager), "echo fine") == "fine\n"


async def test_an_open_workspace_is_told_as_last_known_while_the_store_is_down(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await workspace.write(path("a.txt"), b"a", made_by="write_to_file")
        first = await server.manager.open(OWNER, NAME, OpenRequest(), wait_s=WAIT_S)
        server.store.before |= {"head": store_down, "count": store_down}
        again = await server.manager.open(OWNER, NAME, OpenRequest(), wait_s=WAIT_S)
        assert (again.state, again.revision, again.files) == ("ready", first.revision, first.files)
        assert first.files == 1
        server.store.before.clear()


# Deleting ------------------------------------------------------------------------------------------------------


async def test_who_has_a_workspace_open_that_another_server_deletes_is_told_and_may_open_a_new_one(
    tmp_path: Path,
) -> None:
    async with seam_server(tmp_path) as deleting, seam_server(tmp_path) as working:
        stale = await opened(working.manager)
        await stale.write(path("old.txt"), b"old", made_by="write_to_file")
        await opened(deleting.manager)
        await deleting.manager.delete(OWNER, NAME)
        with pytest.raises(NotFound, match="was deleted") as caught:
            await stale.write(path("new.txt"), b"new", made_by="write_to_file")
        assert "open_workspace" in caught.value.hint
        assert working.sandboxes() == []

        again = await working.manager.open(OWNER, NAME, OpenRequest(), wait_s=WAIT_S)
        assert (again.created, again.files) == (True, 0)
        fresh = await opened(working.manager)
        await fresh.write(path("fresh.txt"), b"fresh", made_by="write_to_file")
        assert await shell(await opened(deleting.manager), "ls") == "fresh.txt\n"
        assert set(await working.store.tree(stale.record.id)) == {"old.txt"}


async def test_a_call_that_comes_while_its_workspace_is_deleted_gets_a_new_one(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        old = await opened(server.manager)
        await old.write(path("old.txt"), b"old", made_by="write_to_file")
        await synced(old)
        await run(old, "echo late > late.txt")
        syncing = server.store.before["append"] = Gate()
        fresh: list[Workspace] = []

        async def call() -> None:
            fresh.append(await opened(server.manager))

        async with anyio.create_task_group() as group:
            group.start_soon(server.manager.delete, OWNER, NAME)
            await syncing.reached.wait()
            group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            syncing.opened.set()
        assert await shell(fresh[0], "ls") == ""
        assert fresh[0].record.id != old.record.id
        assert set(await server.store.tree(old.record.id)) == {"old.txt", "late.txt"}
        assert await states(server) == ["deleted", "open"]


async def test_deleting_waits_for_the_opening_that_is_under_way(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        await (await opened(server.manager)).write(path("a.txt"), b"a", made_by="write_to_file")
    async with seam_server(tmp_path) as server:
        opening = server.provider.before["acquire"] = Gate()
        got: list[Workspace] = []

        async def call() -> None:
            got.append(await opened(server.manager))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await opening.reached.wait()
            group.start_soon(server.manager.delete, OWNER, NAME)
            await anyio.wait_all_tasks_blocked()
            assert await server.store.get_workspace(OWNER, NAME) is not None
            opening.opened.set()
        assert "deleted" in await states(server)
        [trashed] = await server.store.list_workspaces(OWNER, deleted=True)
        if got[0].record.id == trashed.id:
            with pytest.raises(SandboxUnavailable):
                await shell(got[0], "ls")
        assert set(await server.store.tree(trashed.id)) == {"a.txt"}


async def test_a_workspace_that_was_closed_is_not_brought_back_by_who_still_holds_it(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await workspace.write(path("a.txt"), b"a", made_by="write_to_file")
        await server.manager.delete(OWNER, NAME)
        await server.manager.undelete(OWNER, NAME)
        with pytest.raises(SandboxUnavailable, match="closed"):
            await workspace.write(path("b.txt"), b"b", made_by="write_to_file")
        assert server.sandboxes() == []


async def test_what_was_never_synced_comes_back_though_who_deletes_had_it_not_open(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as killed:
        workspace = await opened(killed.manager)
        await workspace.write(path("a.txt"), b"a", made_by="write_to_file")
        await synced(workspace)
    async with seam_server(tmp_path) as server:
        record = workspace.record
        sandbox = await server.provider.acquire(record.spec, record.id, 1, lambda _phase, _percent: None)
        await sandbox.exec(Command(text="echo late > late.txt"))
    async with seam_server(tmp_path) as server:
        await server.manager.delete(OWNER, NAME)
        assert server.sandboxes() == []
        await server.manager.undelete(OWNER, NAME)
        assert await shell(await opened(server.manager), "cat late.txt") == "late\n"


async def test_nothing_is_deleted_while_the_sandbox_of_a_mirrored_workspace_cannot_be_had(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        await (await opened(server.manager)).write(path("a.txt"), b"a", made_by="write_to_file")
    async with seam_server(tmp_path) as server:
        server.provider.before["acquire"] = unavailable
        with pytest.raises(SandboxUnavailable):
            await server.manager.delete(OWNER, NAME)
        server.provider.before.clear()
        assert await states(server) == ["closed"]
        assert await shell(await opened(server.manager), "ls") == "a.txt\n"


async def test_a_workspace_that_never_lived_can_be_deleted_though_it_cannot_be_opened(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        await opened(server.manager)
    async with seam_server(tmp_path) as server:
        server.provider.before["acquire"] = unavailable
        await server.manager.delete(OWNER, NAME)
        assert await states(server) == ["deleted"]
        assert server.sandboxes() == ["1"]


async def test_a_deletion_that_fails_leaves_the_workspace_as_it_was(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await run(workspace, "echo b > b.txt")
        server.store.before["update_workspace"] = store_down
        with pytest.raises(StoreUnavailable):
            await server.manager.delete(OWNER, NAME)
        server.store.before.clear()
        assert await opened(server.manager) is workspace
        assert await shell(workspace, "echo c > c.txt; ls") == "b.txt\nc.txt\n"
        await synced(workspace)
        assert set(await server.store.tree(workspace.record.id)) == {"b.txt", "c.txt"}


async def test_no_task_is_left_of_a_workspace_that_was_deleted(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        before = len(anyio.get_running_tasks())
        for _ in range(3):
            await opened(server.manager)
            await server.manager.delete(OWNER, NAME)

        async def are_gone() -> bool:
            return len(anyio.get_running_tasks()) <= before

        await eventually(are_gone, limit_s=5)


# The trash -----------------------------------------------------------------------------------------------------


async def age(server: SeamServer) -> None:
    """Let what is in the trash have been there for too long."""
    for record in await server.store.list_workspaces(OWNER, deleted=True):
        deleted_at = time.time() - (TRASH_DAYS + 1) * 86_400
        await server.store.update_workspace(replace(record, deleted_at=deleted_at))


async def test_what_is_taken_out_while_the_trash_is_emptied_stays(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as emptying, seam_server(tmp_path) as server:
        await (await opened(server.manager)).write(path("a.txt"), b"a", made_by="write_to_file")
        await server.manager.delete(OWNER, NAME)
        await age(server)
        looked = emptying.store.after["list_workspaces"] = Gate()
        async with anyio.create_task_group() as group:
            group.start_soon(emptying.manager.list, OWNER)
            await looked.reached.wait()
            await server.manager.undelete(OWNER, NAME)
            await opened(server.manager)
            looked.opened.set()
        assert await shell(await opened(server.manager), "ls") == "a.txt\n"
        assert await states(server) == ["open"]


async def test_a_sandbox_that_could_not_be_destroyed_goes_with_the_trash(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        await (await opened(server.manager)).write(path("a.txt"), b"a", made_by="write_to_file")
        server.provider.before["destroy"] = unavailable
        assert (await server.manager.delete(OWNER, NAME)).state == "deleted"
        await age(server)
        assert await states(server) == ["deleted"]
        server.provider.before.clear()
        assert server.sandboxes() == ["1"]
        assert await states(server) == []
        assert server.sandboxes() == []


# Closing -------------------------------------------------------------------------------------------------------


async def test_a_bug_in_the_last_sync_of_one_workspace_does_not_cost_another_its_own(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        one, two = await opened(server.manager), await opened(server.manager, OTHER)
        await synced(one)
        await synced(two)
        failed = anyio.Event()

        async def fail() -> None:
            failed.set()
            raise RuntimeError("a bug")

        server.store.before[f"append to {one.record.id}"] = fail
        server.store.before[f"append to {two.record.id}"] = failed.wait
        await run(one, "echo 1 > 1.txt")
        await run(two, "echo 2 > 2.txt")
    async with seam_server(tmp_path) as server:
        assert set(await server.store.tree(two.record.id)) == {"2.txt"}


async def test_a_write_that_another_overtook_and_that_cannot_be_read_again_is_not_called_mirrored(
    tmp_path: Path,
) -> None:
    async with seam_server(tmp_path) as slow, seam_server(tmp_path) as quick:
        ours, theirs = await opened(slow.manager), await opened(quick.manager)
        gate = slow.store.before["append"] = Gate()
        answers: list[Written] = []

        async def write() -> None:
            answers.append(await ours.write(path("one.txt"), b"ours", made_by="write_to_file"))

        async with anyio.create_task_group() as group:
            group.start_soon(write)
            await gate.reached.wait()
            await theirs.write(path("one.txt"), b"theirs", made_by="write_to_file")
            await shell(theirs, "chmod 0 one.txt")
            gate.opened.set()
        [written] = answers
        assert not written.mirrored
        assert "could not be read again" in str(written.mirror_error)
        assert ours.mirror_state().pending
