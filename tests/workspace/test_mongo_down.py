"""A database that is down costs the mirror alone: the sandbox goes on, and what was missed follows by itself."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import mongod
from tests.contract.stores import file
from tests.mongowire import Rule, Slow, Wire, wire_to
from tests.workspace.helpers import NAME, OWNER, WAIT_S, eventually, opened, path, shell
from vaporform_mcp.errors import NotFound, StoreUnavailable
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import Manager, open_manager
from vaporform_mcp.manager.requests import OpenRequest
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import LocalProvider, open_local
from vaporform_mcp.stores.mongo import MongoStore, open_mongo
from vaporform_mcp.types import Spec, WorkspaceName

pytestmark = pytest.mark.skipif(mongod.is_given, reason="the way to that server may have a login and TLS")


@asynccontextmanager
async def server(data: Path, wire: Wire, database: str) -> AsyncGenerator[tuple[Manager, LocalProvider, MongoStore]]:
    config = LocalConfig(
        data_dir=data, network="none", linger_s=2.0, toolchains=("none",), host_environment=dict(os.environ)
    )
    async with (
        open_mongo(wire.uri, database) as store,
        open_local(config) as provider,
        open_manager(store, provider, lambda name: HostLock(data / "locks" / name), Spec(provider="local")) as manager,
    ):
        yield manager, provider, store


@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_write_waits_for_a_store_that_is_down_once_and_a_sync_follows_when_it_is_back(
    tmp_path: Path, is_silent: bool
) -> None:
    with mongod.dropped(mongod.shared.uri()) as name:
        async with wire_to(mongod.shared.uri()) as wire, server(tmp_path, wire, name) as (manager, _, store):
            workspace = await opened(manager)
            assert (await workspace.write(path("before.txt"), b"1", made_by="test")).mirrored
            if is_silent:
                wire.freeze()
            else:
                await wire.stop()
            began = time.monotonic()
            first = await workspace.write(path("first.txt"), b"2", made_by="test")
            assert not first.mirrored
            assert "MongoDB" in (first.mirror_error or "")
            assert time.monotonic() - began < 9  # a command that is not answered would be waited for ten seconds
            began = time.monotonic()
            for number in range(5):
                assert not (await workspace.write(path(f"{number}.txt"), b"3", made_by="test")).mirrored
            assert time.monotonic() - began < 5 * 1.5  # what looking for the server once would cost
            assert await shell(workspace, "cat first.txt 4.txt; echo 5 > made.txt") == "23"
            assert workspace.mirror_state().pending
            if is_silent:
                wire.thaw()
            else:
                await wire.start()

            async def is_mirrored() -> bool:
                return not workspace.mirror_state().pending

            await eventually(is_mirrored, limit_s=90.0)
            tree = await store.tree(workspace.record.id)
            assert set(tree) == {"before.txt", "first.txt", "made.txt", *(f"{number}.txt" for number in range(5))}
            assert tree[path("first.txt")] == file(b"2")
            assert (await workspace.write(path("after.txt"), b"6", made_by="test")).mirrored


async def test_a_workspace_is_rebuilt_and_read_from_a_database(tmp_path: Path) -> None:
    with mongod.dropped(mongod.shared.uri()) as name:
        async with wire_to(mongod.shared.uri()) as wire, server(tmp_path, wire, name) as (manager, provider, _):
            workspace = await opened(manager)
            await workspace.write(path("a.txt"), b"kept\n", made_by="test")
            await shell(
                workspace, "mkdir -p src; for i in $(seq 40); do echo $i > src/$i.txt; done; chmod +x src/7.txt"
            )
            await workspace.sync(made_by="test")
            await provider.destroy(workspace.record.id, 1)
            assert await shell(workspace, "cat a.txt src/40.txt; ls src | wc -l; test -x src/7.txt") == "kept\n40\n40\n"


async def test_a_database_that_is_down_when_a_workspace_is_opened_is_told_and_opened_when_it_is_back(
    tmp_path: Path,
) -> None:
    with mongod.dropped(mongod.shared.uri()) as name:
        async with wire_to(mongod.shared.uri()) as wire, server(tmp_path, wire, name) as (manager, _, _store):
            await wire.stop()
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await manager.workspace(OWNER, NAME, wait_s=WAIT_S)
            await wire.start()

            async def is_open() -> bool:
                try:
                    return (await opened(manager)).name == NAME
                except StoreUnavailable:
                    return False

            await eventually(is_open, limit_s=60.0)


async def test_a_database_that_dawdles_is_waited_for_within_a_write(tmp_path: Path) -> None:
    with mongod.dropped(mongod.shared.uri()) as name:
        async with wire_to(mongod.shared.uri()) as wire, server(tmp_path, wire, name) as (manager, _, _store):
            workspace = await opened(manager)
            wire.add(Rule(act=Slow(seconds=0.2)))
            assert (await workspace.write(path("a.txt"), b"1", made_by="test")).mirrored


async def test_a_database_that_is_dropped_under_a_running_server_is_told_and_not_taken_for_an_empty_one(
    tmp_path: Path,
) -> None:
    with mongod.dropped(mongod.shared.uri()) as name:
        async with wire_to(mongod.shared.uri()) as wire, server(tmp_path, wire, name) as (manager, _, store):
            workspace = await opened(manager)
            assert (await workspace.write(path("a.txt"), b"1", made_by="test")).mirrored
            kept = {
                each: list(mongod.client()[name][each].find()) for each in mongod.client()[name].list_collection_names()
            }
            mongod.client().drop_database(name)
            written = await workspace.write(path("b.txt"), b"2", made_by="test")
            assert "dropped or replaced" in (written.mirror_error or "")
            assert "Put it back" in (written.mirror_error or "")
            for other in (NAME, WorkspaceName("other")):
                with pytest.raises(StoreUnavailable, match="dropped or replaced"):
                    await store.get_workspace(OWNER, other)
            with pytest.raises(StoreUnavailable, match="dropped or replaced"):
                await opened(manager, WorkspaceName("other"))
            with pytest.raises(NotFound, match="removed or replaced"):
                await manager.open(OWNER, NAME, OpenRequest(), wait_s=WAIT_S)
            assert await shell(workspace, "cat a.txt b.txt") == "12"
            assert name not in mongod.client().list_database_names()
            # Another server began anew in it.
            async with open_mongo(mongod.shared.uri(), name) as anew:
                assert await anew.list_workspaces(OWNER) == []
            with pytest.raises(StoreUnavailable, match="dropped or replaced"):
                await opened(manager, WorkspaceName("other"))
            mongod.client().drop_database(name)
            for each, documents in ((each, found) for each, found in kept.items() if found):
                mongod.client()[name][each].insert_many(documents)

            async def is_mirrored() -> bool:
                return not workspace.mirror_state().pending

            await eventually(is_mirrored, limit_s=60.0)
            assert set(await store.tree(workspace.record.id)) == {"a.txt", "b.txt"}


async def test_a_workspace_that_the_store_has_lost_is_told_and_not_made_anew_under_its_name(tmp_path: Path) -> None:
    with mongod.dropped(mongod.shared.uri()) as name:
        async with wire_to(mongod.shared.uri()) as wire, server(tmp_path, wire, name) as (manager, _, store):
            workspace = await opened(manager)
            assert (await workspace.write(path("a.txt"), b"1", made_by="test")).mirrored
            await opened(manager, WorkspaceName("other"))
            mongod.client()[name]["workspaces"].delete_one({"_id": workspace.record.id})
            with pytest.raises(NotFound, match="no longer has this workspace"):
                await manager.open(OWNER, NAME, OpenRequest(), wait_s=WAIT_S)
            written = await (await opened(manager)).write(path("b.txt"), b"2", made_by="test")
            assert "no longer has this workspace" in (written.mirror_error or "")
            assert "started anew" in (written.mirror_error or "")
            assert [each.name for each in await store.list_workspaces(OWNER)] == ["other"]


@pytest.mark.long
async def test_a_database_that_takes_two_seconds_for_each_command_has_it_all_in_the_end(tmp_path: Path) -> None:
    with mongod.dropped(mongod.shared.uri()) as name:
        async with wire_to(mongod.shared.uri()) as wire, server(tmp_path, wire, name) as (manager, _, _store):
            workspace = await opened(manager)
            wire.add(Rule(act=Slow(seconds=2.0)))
            await workspace.write(path("a.txt"), b"1", made_by="test")
            await shell(workspace, "echo 2 > b.txt")

            async def is_mirrored() -> bool:
                return not workspace.mirror_state().pending

            await eventually(is_mirrored, limit_s=90.0)
            wire.rules.clear()
            async with open_mongo(mongod.shared.uri(), name) as witness:
                assert set(await witness.tree(workspace.record.id)) == {"a.txt", "b.txt"}
