"""A sandbox that is lost is rebuilt from its mirror by the next call, whatever that call is."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3

import anyio
import pytest

from tests.contract.stores import entry_of
from tests.workspace.conftest import Server, ServerFactory
from tests.workspace.helpers import eventually, opened, path, run, shell
from vaporform_mcp.sandboxes.base import RunState
from vaporform_mcp.sandboxes.local.registry import known_sandboxes


@pytest.mark.parametrize("call", ["read", "write", "execute", "list"])
async def test_the_next_call_after_a_destroyed_sandbox_just_works(server: Server, call: str) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("src/a.txt"), b"kept\n", made_by="write_to_file")
    await server.provider.destroy(workspace.record.id, 1)
    match call:
        case "read":
            assert (await workspace.read(path("src/a.txt"))).source == "sandbox"
        case "write":
            assert (await workspace.write(path("b.txt"), b"x", made_by="write_to_file")).mirrored
        case "execute":
            assert await shell(workspace, "cat src/a.txt") == "kept\n"
        case _:
            assert len((await workspace.list(path("src"), recursive=True, limit=10)).entries) == 1
    assert await shell(workspace, "cat src/a.txt") == "kept\n"


async def test_what_did_not_come_back_is_told_once_with_the_commands_that_make_it(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"x", made_by="write_to_file")
    await run(workspace, "true && pip install --help >/dev/null; true && npm install --help >/dev/null || true")
    await run(workspace, "sleep 600", wait_s=0)
    await server.provider.destroy(workspace.record.id, 1)
    await shell(workspace, "true")
    [notice] = workspace.take_notices()
    assert "node_modules" in notice
    assert "npm install" in notice
    assert "sleep 600" in notice
    assert workspace.take_notices() == []


async def test_a_sandbox_lost_before_anything_was_mirrored_is_told_as_rebuilt_not_as_restarted(server: Server) -> None:
    workspace = await opened(server.manager)
    await run(workspace, "sleep 600", wait_s=0)
    await server.provider.destroy(workspace.record.id, 1)
    await shell(workspace, "true")
    [notice] = workspace.take_notices()
    assert "was rebuilt" in notice
    assert "sleep 600" in notice


async def test_an_epoch_is_raised_so_that_the_old_sandbox_can_never_write_the_mirror(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"x", made_by="write_to_file")
    await server.provider.destroy(workspace.record.id, 1)
    await shell(workspace, "true")
    assert (await server.store.head(workspace.record.id)).epoch == 2


async def test_files_deleted_behind_our_back_are_restored_never_synced_as_a_mass_deletion(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"x", made_by="write_to_file")
    for folder in (server.data / "sandboxes").glob("*/files"):
        shutil.rmtree(folder)
    await run(workspace, "true")
    assert (await workspace.read(path("a.txt"))).content == b"x"
    assert set(await server.store.tree(workspace.record.id)) == {"a.txt"}


async def test_a_restart_of_the_sandbox_keeps_its_files_and_names_the_processes_that_ended(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "mkdir node_modules; echo x > node_modules/kept")
    await run(workspace, "sleep 600", wait_s=0)
    await run(workspace, "exec sleep 500", wait_s=0)
    await _kill_sandbox(server)
    assert await shell(workspace, "cat node_modules/kept") == "x\n"
    [notice] = workspace.take_notices()
    assert "sleep 600" in notice
    assert "restarted" in notice


async def test_a_command_that_runs_while_its_sandbox_ends_is_lost_not_repeated(server: Server) -> None:
    workspace = await opened(server.manager)
    states: list[RunState] = []

    async def long() -> None:
        executed = await run(workspace, "echo once >> count.txt; sleep 60")
        states.append(executed.result.state)

    async with anyio.create_task_group() as group:
        group.start_soon(long)

        async def begun() -> bool:
            return "count.txt" in await shell(workspace, "ls")

        await eventually(begun)
        await _kill_sandbox(server)
    assert states == [RunState.LOST]
    assert await shell(workspace, "cat count.txt") == "once\n"


async def test_a_server_that_starts_again_finds_the_workspace_as_it_was(start_server: ServerFactory) -> None:
    async with start_server() as server:
        workspace = await opened(server.manager)
        await workspace.write(path("a.txt"), b"x", made_by="write_to_file")
        await run(workspace, "echo from a command > b.txt")
    async with start_server() as server:
        workspace = await opened(server.manager)
        assert set(await server.store.tree(workspace.record.id)) == {"a.txt", "b.txt"}, "the pending sync was made"
        assert await shell(workspace, "cat b.txt") == "from a command\n"
        assert workspace.take_notices() == []


async def test_a_restore_that_was_interrupted_starts_again(start_server: ServerFactory) -> None:
    async with start_server() as server:
        workspace = await opened(server.manager)
        for number in range(50):
            await workspace.write(path(f"{number}.txt"), b"x", made_by="write_to_file")
        record = workspace.record
    async with start_server() as server:
        # As if a server had died in the middle: the new epoch's sandbox is there, half filled and without a mark.
        await server.provider.destroy(record.id, 1)
        head = await server.store.head(record.id)
        await server.store.append(
            record.id, parent=head.number, revision_id="dead", epoch=2, changes=(), made_by="self-heal"
        )
        half = await server.provider.acquire(record.spec, record.id, 2, lambda _phase, _percent: None)
        await half.aclose()
        workspace = await opened(server.manager)
        assert await shell(workspace, "ls | wc -l") == "50\n"
        assert len(await server.store.tree(record.id)) == 50


async def _kill_sandbox(server: Server) -> None:
    """SIGKILL to the sandbox's first process, from outside, as the kernel's OOM killer would."""
    pids = [found.pid for found in await known_sandboxes(server.data) if found.pid is not None]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


async def test_what_a_killed_sandbox_left_unmirrored_is_mirrored_once_it_is_back(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.sync(made_by="test")
    started = await run(workspace, "echo late > late.txt; sleep 60", wait_s=0.1)
    assert started.result.state is RunState.RUNNING
    await _kill_sandbox(server)
    await shell(workspace, "true")

    async def mirrored() -> bool:
        return await entry_of(server.store, workspace.record.id, path("late.txt")) is not None

    await eventually(mirrored)


async def test_a_workspace_all_of_whose_contents_are_damaged_still_opens_and_names_them(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"only content", made_by="write_to_file")
    with sqlite3.connect(server.data / "vaporform.sqlite3") as database:
        database.execute("UPDATE chunks SET content = x'00'")
    database.close()
    await server.provider.destroy(workspace.record.id, 1)
    await shell(workspace, "true")
    [notice] = workspace.take_notices()
    assert "a.txt" in notice
    await workspace.sync(made_by="test")
    assert await entry_of(server.store, workspace.record.id, path("a.txt")) is not None, "absence is no deletion"
