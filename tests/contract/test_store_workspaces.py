"""Every store: workspaces' records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contract.stores import Clock, make_workspace, record, write
from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Head, Spec, WorkspaceName, WorkspaceRecord


async def test_a_record_reads_back_as_it_was_kept(store: Store) -> None:
    full = WorkspaceRecord(
        id="w-full",
        owner="ada",
        name=WorkspaceName("todo-app"),
        spec=Spec(
            provider="local",
            image="debian:12",
            snapshot="snap",
            public=False,
            network="none",
            git_url="https://example.com/x.git",
            git_branch="main",
            env={"GREETING": "grüß dich\n'"},
        ),
        created_at=1.25,
        last_used_at=2.5,
        sandbox_id="box-1",
        imported=False,
        previews={3000: 3001, 8080: 8080},
        commands=("npm ci", "pip install -e ."),
        dev_command="npm run dev",
        version=3,
    )
    assert await store.create_workspace(full) == full
    assert await store.get_workspace("ada", "todo-app") == full


async def test_a_workspace_that_nobody_made_is_none(store: Store) -> None:
    assert await store.get_workspace("ada", "site") is None
    assert list(await store.list_workspaces("ada")) == []


async def test_creating_it_again_with_its_id_answers_with_what_is_kept(store: Store) -> None:
    first = await store.create_workspace(record("site", id="w-1"))
    moved = await store.update_workspace(replace(first, sandbox_id="box-1"))
    assert await store.create_workspace(record("site", id="w-1")) == moved


async def test_a_name_is_the_owners_own(store: Store) -> None:
    mine = await store.create_workspace(record("site", owner="ada"))
    with pytest.raises(Conflict, match="site"):
        await store.create_workspace(record("site", owner="ada"))
    theirs = await store.create_workspace(record("site", owner="bob"))
    assert await store.get_workspace("ada", "site") == mine
    assert await store.get_workspace("bob", "site") == theirs


async def test_workspaces_are_listed_latest_used_first(store: Store) -> None:
    for name, used in (("one", 1.0), ("three", 3.0), ("two", 2.0)):
        await store.create_workspace(record(name, last_used_at=used))
    await store.create_workspace(record("other", owner="bob"))
    assert [each.name for each in await store.list_workspaces("ada")] == ["three", "two", "one"]


async def test_one_in_the_trash_is_found_only_there_and_its_name_is_free(store: Store) -> None:
    old = await store.create_workspace(record("site"))
    trashed = await store.update_workspace(replace(old, deleted_at=5.0))
    assert await store.get_workspace("ada", "site") is None
    fresh = await store.create_workspace(record("site"))
    assert list(await store.list_workspaces("ada")) == [fresh]
    assert list(await store.list_workspaces("ada", deleted=True)) == [trashed]


async def test_one_comes_back_from_the_trash_unless_its_name_was_taken(store: Store) -> None:
    old = await store.create_workspace(record("site"))
    trashed = await store.update_workspace(replace(old, deleted_at=5.0))
    fresh = await store.create_workspace(record("site"))
    with pytest.raises(Conflict):
        await store.update_workspace(replace(trashed, deleted_at=None))
    await store.delete_workspace(fresh.id)
    back = await store.update_workspace(replace(trashed, deleted_at=None))
    assert await store.get_workspace("ada", "site") == back


async def test_an_update_raises_the_version_and_refuses_a_stale_one(store: Store) -> None:
    first = await store.create_workspace(record("site"))
    second = await store.update_workspace(replace(first, sandbox_id="box-1"))
    assert second == replace(first, sandbox_id="box-1", version=first.version + 1)
    with pytest.raises(Conflict):
        await store.update_workspace(replace(first, sandbox_id="box-2"))
    assert await store.get_workspace("ada", "site") == second


async def test_updating_one_that_was_deleted_for_good_is_not_found(store: Store) -> None:
    gone = await store.create_workspace(record("site"))
    await store.delete_workspace(gone.id)
    with pytest.raises(NotFound):
        await store.update_workspace(gone)


@pytest.mark.many
async def test_deleting_forgets_everything_and_may_be_repeated(store: Store) -> None:
    kept = await make_workspace(store, "kept")
    await write(store, kept, {"a.txt": b"kept"})
    gone = await store.create_workspace(record("gone"))
    for round_ in range(3):
        await write(store, gone.id, {f"{round_}-{each}.txt": b"%d" % each for each in range(2500)})
    await store.delete_workspace(gone.id)
    await store.delete_workspace(gone.id)
    assert await store.get_workspace("ada", "gone") is None
    with pytest.raises(NotFound):
        await store.tree(gone.id)
    assert set(await store.tree(kept)) == {"a.txt"}


async def test_one_that_was_changed_since_it_was_looked_at_is_not_deleted(store: Store) -> None:
    seen = await store.create_workspace(record("site"))
    await write(store, seen.id, {"a.txt": b"a"})
    changed = await store.update_workspace(replace(seen, sandbox_id="box-1"))
    with pytest.raises(Conflict, match="site"):
        await store.delete_workspace(seen.id, version=seen.version)
    assert await store.get_workspace("ada", "site") == changed
    assert set(await store.tree(seen.id)) == {"a.txt"}
    await store.delete_workspace(seen.id, version=changed.version)
    await store.delete_workspace(seen.id, version=changed.version)
    assert await store.get_workspace("ada", "site") is None


async def test_one_made_with_the_id_of_a_deleted_one_begins_empty(store: Store) -> None:
    first = await store.create_workspace(record("site", id="w-1"))
    await write(store, first.id, {"a.txt": b"a"})
    await store.delete_workspace(first.id)
    await store.create_workspace(record("site", id="w-1"))
    assert await store.head("w-1") == Head(number=0, epoch=0)
    assert await store.tree("w-1") == {}
    assert list(await store.log("w-1")) == []


async def test_blobs_that_only_a_deleted_workspace_used_are_pruned(store: Store, clock: Clock) -> None:
    kept, gone = await make_workspace(store, "kept"), await make_workspace(store, "gone")
    await write(store, kept, {"a.txt": b"shared"})
    await write(store, gone, {"a.txt": b"shared", "b.txt": b"alone"})
    await store.delete_workspace(gone)
    clock.now += 100
    pruned = await store.prune(kept, keep_after=0, grace_s=10)
    assert (pruned.blobs, pruned.size_bytes) == (1, len(b"alone"))
