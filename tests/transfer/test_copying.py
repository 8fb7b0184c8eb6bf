"""A history that is copied from one store into another."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.stores import Clock, append, digest_of, file, link, record, streamed, write
from vaporform_mcp.errors import Conflict
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.transfer.copying import copy_workspace
from vaporform_mcp.types import Entry, Revision, WorkspacePath, WorkspaceRecord

LARGE = os.urandom(17 * 1024 * 1024)
Told = tuple[list[Revision], list[Mapping[WorkspacePath, Entry]]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stores(tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[Store, Store]]:
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(open_sqlite(tmp_path / "source.sqlite3", clock=clock))
        target = await stack.enter_async_context(open_sqlite(tmp_path / "target.sqlite3", clock=clock))
        yield source, target


async def a_history(store: Store, third: bytes = b"third") -> WorkspaceRecord:
    made = await store.create_workspace(record("site"))
    await write(store, made.id, {"a": b"1", "b/c": b"2", "naïve": b""})
    await write(store, made.id, {"a": b"3", "b/c": None}, label="kept")
    await store.put_large_blob(digest_of(third), len(third), streamed(third, 500_000), "x/y")
    await append(store, made.id, {"third": file(third, mode=0o755), "link": link(b"1")})
    await write(store, made.id, {"a": b"4", "b/c": b"2"})
    return made


async def told(store: Store, workspace: str) -> Told:
    log = list(await store.log(workspace, limit=10_000))
    return log, [await store.tree(workspace, revision.number) for revision in log]


async def test_a_copy_has_every_revision_as_it_was_and_repeating_copies_what_is_new(
    stores: tuple[Store, Store],
) -> None:
    source, target = stores
    made = await a_history(source, LARGE)
    copied = await copy_workspace(source, made, target)
    assert (copied.revisions, copied.contents, copied.lost) == (4, 6, [])
    assert await told(target, made.id) == await told(source, made.id)
    assert await target.get_workspace(made.owner, made.name) == made
    assert (await target.verify()).blobs == 6
    assert (await copy_workspace(source, made, target)).revisions == 0
    await write(source, made.id, {"new": b"5"})
    again = await copy_workspace(source, made, target)
    assert (again.revisions, again.contents) == (1, 1)
    assert await told(target, made.id) == await told(source, made.id)
    # It goes on there as a workspace of its own.
    assert (await write(target, made.id, {"a": b"6"})).number == 6


async def test_a_history_with_holes_is_copied_with_its_holes(stores: tuple[Store, Store], clock: Clock) -> None:
    source, target = stores
    made = await a_history(source)
    clock.now += 100
    await source.prune(made.id, keep_after=3, grace_s=10)
    await copy_workspace(source, made, target)
    assert [revision.number for revision in await target.log(made.id)] == [4, 2]
    assert await told(target, made.id) == await told(source, made.id)


class Stopped(Exception):
    pass


async def test_a_copy_that_stopped_half_way_is_a_shorter_history_and_is_finished_by_repeating(
    stores: tuple[Store, Store],
) -> None:
    source, target = stores
    made = await source.create_workspace(record("site"))
    for number in range(250):
        await write(source, made.id, {"a": b"%d" % number})

    def stop(done: int, total: int) -> None:
        assert done <= total
        if done > 200:
            raise Stopped

    with pytest.raises(Stopped):
        await copy_workspace(source, made, target, stop)
    half = len(await target.log(made.id, limit=1000))
    assert 0 < half < 250
    assert await target.tree(made.id) == await source.tree(made.id, half)
    finished = await copy_workspace(source, made, target)
    assert finished.revisions == 250 - half
    assert await told(target, made.id) == await told(source, made.id)


async def test_what_is_lost_is_told_and_the_rest_is_copied_whole(stores: tuple[Store, Store], tmp_path: Path) -> None:
    source, target = stores
    made = await a_history(source, LARGE)
    with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
        for digest in (digest_of(b"3"), digest_of(LARGE)):
            connection.execute(
                "UPDATE chunks SET content = zeroblob(length(content))"
                " WHERE blob = (SELECT id FROM blobs WHERE digest = ?) AND seq = 0",
                (digest,),
            )
        connection.commit()
    copied = await copy_workspace(source, made, target)
    assert {(lost.path, lost.revision) for lost in copied.lost} == {("a", 2), ("third", 3)}
    assert set(await target.tree(made.id, 1)) == {"a", "b/c", "naïve"}
    assert set(await target.tree(made.id, 2)) == {"naïve"}
    assert set(await target.tree(made.id)) == {"a", "b/c", "naïve", "link"}
    report = await target.verify()
    assert (list(report.missing), list(report.corrupt)) == ([], [])
    assert await target.log(made.id) == await source.log(made.id)


async def test_a_content_that_the_target_has_already_is_not_lost(stores: tuple[Store, Store], tmp_path: Path) -> None:
    source, target = stores
    made = await a_history(source)
    other = await target.create_workspace(record("other"))
    await write(target, other.id, {"x": b"3"})
    with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest_of(b"3"),))
        connection.commit()
    assert (await copy_workspace(source, made, target)).lost == []
    assert await told(target, made.id) == await told(source, made.id)


async def test_a_copy_that_has_gone_on_by_itself_is_left_alone(stores: tuple[Store, Store]) -> None:
    source, target = stores
    made = await a_history(source)
    await copy_workspace(source, made, target)
    await write(target, made.id, {"theirs": b"t"})
    await write(source, made.id, {"ours": b"o"})
    before = await told(target, made.id)
    with pytest.raises(Conflict, match="history of its own"):
        await copy_workspace(source, made, target)
    assert await told(target, made.id) == before


async def test_another_workspace_of_the_name_and_one_in_the_trash_are_left_alone(stores: tuple[Store, Store]) -> None:
    source, target = stores
    made = await a_history(source)
    other = await target.create_workspace(record("site"))
    with pytest.raises(Conflict, match="another workspace named"):
        await copy_workspace(source, made, target)
    await target.update_workspace(replace(other, deleted_at=1.0))
    trashed = await copy_workspace(source, made, target)
    assert trashed.revisions == 4
    kept = await target.get_workspace(made.owner, made.name)
    assert kept is not None
    await target.update_workspace(replace(kept, deleted_at=1.0))
    with pytest.raises(Conflict, match="trash"):
        await copy_workspace(source, made, target)
