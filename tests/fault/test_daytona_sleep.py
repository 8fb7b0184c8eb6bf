"""What becomes of files while a Daytona sandbox sleeps: what is there stays, and what is not is no deletion."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from daytona import AsyncDaytona
from daytona import DaytonaConfig as Config

from tests.contract.sandboxes import daytona_config, emulator
from tests.fault.daytona import open_scene, say
from tests.workspace.helpers import opened, path, shell
from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import Manager, open_manager
from vaporform_mcp.sandboxes.daytona.provider import open_daytona
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.types import Spec

pytestmark = pytest.mark.usefixtures("namespaces")


@asynccontextmanager
async def a_server(folder: Path) -> AsyncGenerator[Manager]:
    async with (
        open_sqlite(folder / "store.sqlite3") as store,
        open_daytona(daytona_config(store_id="sleep")) as provider,
        open_manager(store, provider, lambda name: HostLock(folder / name), Spec(provider="daytona")) as manager,
    ):
        yield manager


async def while_it_sleeps(text: str) -> str:
    """Run a shell line in the only sandbox, past any server of ours; answers with its id."""
    service = AsyncDaytona(Config(api_key=emulator().key, api_url=emulator().api_url))
    try:
        (found,) = [each async for each in service.list()]
        sandbox = await service.get(found.id)
        emulator().happen(sandbox.id, "stopped")
        await sandbox.start()
        done = await sandbox.process.exec(text)
        assert done.exit_code == 0, done.result
        emulator().happen(sandbox.id, "stopped")
        return sandbox.id
    finally:
        await service.close()


async def test_a_folder_that_lies_elsewhere_after_a_sleep_is_the_same_with_what_was_never_mirrored(
    tmp_path: Path,
) -> None:
    emulator().reset()
    async with a_server(tmp_path) as manager:
        workspace = await opened(manager)
        await workspace.write(path("a"), b"1", made_by="test")
        await shell(workspace, "mkdir -p node_modules; echo installed > node_modules/x")
        await workspace.sync(made_by="test")
    # It gets other inodes, as it does in an archive.
    before = await while_it_sleeps("cd ~; cp -a workspace moved; rm -rf workspace; mv moved workspace")
    async with a_server(tmp_path) as manager:
        assert await shell(await opened(manager), "cat a node_modules/x") == "1installed\n"
    assert await while_it_sleeps("true") == before


async def test_files_that_vanished_while_it_slept_come_back_and_are_no_deletion(tmp_path: Path) -> None:
    emulator().reset()
    async with a_server(tmp_path) as manager:
        workspace = await opened(manager)
        for name in "abc":
            await workspace.write(path(name), b"1", made_by="test")
        await workspace.sync(made_by="test")
        await while_it_sleeps("rm -rf ~/workspace")
        await workspace.sync(made_by="test")
        assert await shell(workspace, "ls") == "a\nb\nc\n"
        history = await workspace.history(path(""), before=None, limit=10)
        assert {each.removed for each in history.revisions} == {0}


async def test_a_mark_that_cannot_be_read_is_told_and_only_one_that_is_gone_is_none() -> None:
    async with open_scene() as scene:
        sandbox = await scene.acquire()
        await sandbox.write_mark(b"the mark")
        await say(sandbox, "cd ~/.vaporform; f=$(ls -d mark-*); mv $f ../kept; mkdir $f")
    async with open_scene(afresh=False) as scene:
        sandbox = await scene.acquire()
        with pytest.raises(SandboxUnavailable, match="mark-"):
            await sandbox.read_mark()
        await say(sandbox, "cd ~/.vaporform; f=$(ls -d mark-*); rmdir $f; mv ../kept $f")
        assert await sandbox.read_mark() == b"the mark"
    async with open_scene(afresh=False) as scene:
        sandbox = await scene.acquire()
        await say(sandbox, "rm ~/.vaporform/mark-*")
        assert await sandbox.read_mark() is None
