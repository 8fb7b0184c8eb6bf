"""The SQLite store's file: foreign, newer, damaged, out of reach, locked or moved away."""

# ruff: noqa: ASYNC240  # the files are small, and nothing else waits for the event loop

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.contract.stores import append, blob, digest_of, file, make_workspace, record, write
from tests.durability.kills import assert_is_sound
from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.sqlite import SqliteStore, open_sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vaporform.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with open_sqlite(path, busy_s=0.2) as opened:
        yield opened


async def refusal(store: SqliteStore, path: Path) -> StoreUnavailable:
    """What both a read and a write are refused with: it names the mend and no path of this machine."""
    with pytest.raises(StoreUnavailable) as reading:
        await store.list_workspaces("ada")
    with pytest.raises(StoreUnavailable) as writing:
        await store.create_workspace(record("site"))
    assert str(writing.value) == str(reading.value)
    told = f"{writing.value} {writing.value.hint}"
    assert writing.value.hint
    assert str(path.parent.parent) not in told
    assert not re.search(r"(?<!\w)/\w", told)
    return writing.value


async def test_nothing_is_touched_before_the_first_call(store: SqliteStore, path: Path) -> None:
    assert not path.parent.exists()
    assert await store.get_workspace("ada", "site") is None
    assert path.exists()


async def test_a_new_file_is_its_owners_alone(store: SqliteStore, path: Path) -> None:
    before = os.umask(0)
    try:
        await write(store, await make_workspace(store), {"a": b"1"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"vaporform.sqlite3": 0o600, "vaporform.sqlite3-wal": 0o600, "vaporform.sqlite3-shm": 0o600}


@pytest.mark.parametrize("size", [20, 600, 10_000])
async def test_a_file_that_is_no_database_is_left_alone(store: SqliteStore, path: Path, size: int) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my notes\n" * size)
    refused = await refusal(store, path)
    assert "vaporform.sqlite3 is not a database" in str(refused)
    assert "Move that file away" in refused.hint
    assert path.read_bytes() == b"my notes\n" * size


@pytest.mark.parametrize("application", [0, 7])
async def test_another_programs_database_is_left_alone(store: SqliteStore, path: Path, application: int) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute(f"PRAGMA application_id = {application}")
        theirs.execute("CREATE TABLE notes (text)")
        theirs.commit()
    before = path.read_bytes()
    assert "another program" in str(await refusal(store, path))
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused_also_by_a_server_that_runs_already(path: Path) -> None:
    async with open_sqlite(path) as running:
        await make_workspace(running)
        with closing(sqlite3.connect(path)) as newer:
            newer.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreUnavailable, match="schema 99"):
            await make_workspace(running, "other")
        async with open_sqlite(path) as fresh:
            refused = await refusal(fresh, path)
    assert "newer vaporform-mcp" in str(refused)
    assert "Upgrade" in refused.hint


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE chunks",
        "ALTER TABLE changes RENAME COLUMN digest TO hash",
        "ALTER TABLE latest ADD COLUMN more TEXT",
        "ALTER TABLE heads DROP COLUMN epoch",
    ],
)
async def test_other_tables_than_the_schema_has_are_refused_before_anything_is_written(path: Path, change: str) -> None:
    async with open_sqlite(path) as before:
        await write(before, await make_workspace(before), {"a": b"1"})
    with closing(sqlite3.connect(path)) as other:
        other.execute(change)
        kept = list(other.iterdump())
    async with open_sqlite(path) as store:
        refused = await refusal(store, path)
    assert "does not have the tables of its version" in str(refused)
    assert "put back a copy" in refused.hint
    with closing(sqlite3.connect(path)) as other:
        assert list(other.iterdump()) == kept


async def test_tables_that_change_under_a_running_server_are_told_and_mended_ones_are_used(path: Path) -> None:
    async with open_sqlite(path) as store:
        workspace = await make_workspace(store)
        await write(store, workspace, {"a": b"1"})
        for back, forth in (("digest", "hash"), ("hash", "digest")):
            with closing(sqlite3.connect(path)) as other:
                other.execute(f"ALTER TABLE changes RENAME COLUMN {back} TO {forth}")
            if forth == "hash":
                with pytest.raises(StoreUnavailable, match="does not have the tables"):
                    await store.changes(workspace, after=0)
        assert [change.path for change in await store.changes(workspace, after=0)] == ["a"]


async def test_tables_of_a_users_own_are_no_harm(path: Path) -> None:
    async with open_sqlite(path) as before:
        workspace = await make_workspace(before)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text)")
    async with open_sqlite(path) as store:
        await write(store, workspace, {"a": b"1"})


async def test_a_name_that_is_no_text_any_more_is_told_as_damage(path: Path) -> None:
    async with open_sqlite(path) as store:
        workspace = await make_workspace(store)
        await write(store, workspace, {"a": b"1"})
        with closing(sqlite3.connect(path)) as other:
            other.execute("UPDATE latest SET path = CAST(x'ff41' AS TEXT)")
            other.commit()
        with pytest.raises(StoreUnavailable, match="damaged"):
            await store.tree(workspace)


async def test_a_damaged_file_is_told_as_that(path: Path) -> None:
    async with open_sqlite(path) as before:
        workspace = await make_workspace(before)
        await write(before, workspace, {f"f{number}": os.urandom(3000) for number in range(100)})
    size = path.stat().st_size
    with path.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(os.urandom(size - 8192))
    async with open_sqlite(path) as store:
        refused = await refusal(store, path)
    assert "damaged" in str(refused)
    assert ".recover" in refused.hint


async def test_a_file_cut_short_is_told_as_damaged(path: Path) -> None:
    async with open_sqlite(path) as before:
        await write(before, await make_workspace(before), {f"f{number}": os.urandom(3000) for number in range(100)})
    os.truncate(path, 3 * 4096)
    async with open_sqlite(path) as store:
        with pytest.raises(StoreUnavailable, match="damaged"):
            await make_workspace(store, "other")


async def test_a_folder_in_the_files_place_cannot_be_opened(store: SqliteStore, path: Path) -> None:
    path.mkdir(parents=True)
    assert "cannot be opened" in str(await refusal(store, path))


async def test_a_file_in_the_folders_place_cannot_be_opened(store: SqliteStore, path: Path) -> None:
    path.parent.touch()
    assert "cannot be opened" in str(await refusal(store, path))


async def test_a_mended_file_is_used_at_the_next_call(store: SqliteStore, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my notes\n" * 1000)
    await refusal(store, path)
    path.rename(path.with_name("notes"))
    await write(store, await make_workspace(store), {"a": b"1"})


async def test_a_file_locked_for_too_long_is_refused_and_reads_go_on(store: SqliteStore, path: Path) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1"})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked") as refused:
            await append(store, workspace, {"a": None})
        assert "Repeat the call" in refused.value.hint
        assert await store.tree(workspace) == {"a": file(b"1")}
        other.execute("ROLLBACK")
    await append(store, workspace, {"a": None})


async def test_a_folder_locked_for_too_long_is_told_when_the_file_is_to_be_made(store: SqliteStore, path: Path) -> None:
    path.parent.mkdir()
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.list_workspaces("ada")
    finally:
        os.close(descriptor)
    assert await store.list_workspaces("ada") == []


async def test_a_write_waits_for_another_process_that_is_soon_done(path: Path) -> None:
    async with open_sqlite(path, busy_s=30) as store, anyio.create_task_group() as group:
        workspace = await make_workspace(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            group.start_soon(write, store, workspace, {"a": b"1"})
            for _ in range(20):
                assert await store.tree(workspace) == {}
            other.execute("ROLLBACK")


async def test_a_cancelled_call_leaves_no_transaction_open(store: SqliteStore, path: Path) -> None:
    workspace = await make_workspace(store)
    contents = {f"f{number}": b"%d" % number for number in range(500)}
    await store.put_blobs([blob(content) for content in contents.values()])
    for after_s in (0.0, 0.0005, 0.002, 0.005):
        with anyio.move_on_after(after_s):
            await write(store, workspace, contents)
        with anyio.move_on_after(after_s):
            await store.tree(workspace)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")


async def put_away(path: Path) -> list[tuple[Path, Path]]:
    """Move the store's files out of the way; answers with where each was and is."""
    away = path.parent.parent / "away"
    away.mkdir()
    return [(each, each.rename(away / each.name)) for each in list(path.parent.iterdir())]


def remove(path: Path) -> None:
    for each in path.parent.iterdir():
        each.unlink()


def remove_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def put_another(path: Path) -> None:
    remove(path)
    with closing(sqlite3.connect(path)) as empty:  # on many file systems it gets the number of the one before
        empty.execute("PRAGMA user_version = 0")
        empty.execute("VACUUM")


@pytest.mark.parametrize("has_idle_reader", [True, False])
@pytest.mark.parametrize("meddle", [remove, remove_the_folder, put_another])
async def test_a_file_that_is_gone_under_a_running_server_is_told_and_none_is_made_in_its_place(
    store: SqliteStore, path: Path, meddle: Callable[[Path], None], has_idle_reader: bool
) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1"})
    if has_idle_reader:
        await store.tree(workspace)
    meddle(path)
    before = path.read_bytes() if path.exists() else None
    for _ in range(2):
        refused = await refusal(store, path)
        assert "removed, moved away or replaced" in str(refused)
        assert "Put it back" in refused.hint
        with pytest.raises(StoreUnavailable, match="removed"):
            await store.put_blobs([blob(b"2")])
    assert (path.read_bytes() if path.exists() else None) == before
    # A server that is started now begins with what is there.
    async with open_sqlite(path) as new:
        assert await new.list_workspaces("ada") == []


async def test_a_file_that_was_moved_away_is_whole_there_and_goes_on_when_it_is_put_back(
    store: SqliteStore, path: Path
) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1"})
    moved = await put_away(path)
    with pytest.raises(StoreUnavailable, match="moved away"):
        await write(store, workspace, {"a": b"2"})
    async with open_sqlite(dict(moved)[path]) as old:
        assert await old.tree(workspace) == {"a": file(b"1")}
    for was, now in moved:
        if now.exists():
            now.rename(was)
    assert await store.tree(workspace) == {"a": file(b"1")}
    await write(store, workspace, {"b": b"2"})
    await store.aclose()
    assert_is_sound(path)
    async with open_sqlite(path) as again:
        assert await again.tree(workspace) == {"a": file(b"1"), "b": file(b"2")}


async def test_a_file_replaced_while_a_stream_comes_in_gets_nothing_of_it_and_loses_nothing(
    store: SqliteStore, path: Path
) -> None:
    """The new file's first blob has the number that the stream has in the old one."""
    await make_workspace(store)
    content, other = os.urandom(3 * 1024 * 1024), b"of the other file"

    async def stream() -> AsyncIterator[bytes]:
        yield content[: 2 * 1024 * 1024]
        path.rename(path.with_name("old"))
        async with open_sqlite(path) as theirs:
            await write(theirs, await make_workspace(theirs, "other"), {"other": other})
        yield content[2 * 1024 * 1024 :]

    with pytest.raises(StoreUnavailable, match="replaced"):
        await store.put_large_blob(digest_of(content), len(content), stream(), "text/plain")
    await store.aclose()
    assert_is_sound(path)
    async with open_sqlite(path) as theirs:
        assert await theirs.get_blobs([digest_of(content), digest_of(other)]) == {digest_of(other): other}


async def test_a_stream_whose_place_was_pruned_meanwhile_is_told_to_be_put_again(
    store: SqliteStore, path: Path
) -> None:
    content = os.urandom(2 * 1024 * 1024 + 1)

    async def stream() -> AsyncIterator[bytes]:
        yield content[: 1024 * 1024]
        with closing(sqlite3.connect(path)) as pruning:
            pruning.execute("DELETE FROM chunks WHERE blob IN (SELECT id FROM blobs WHERE digest IS NULL)")
            pruning.execute("DELETE FROM blobs WHERE digest IS NULL")
            pruning.commit()
        yield content[1024 * 1024 :]

    with pytest.raises(StoreUnavailable, match="pruned"):
        await store.put_large_blob(digest_of(content), len(content), stream(), "text/plain")
    await store.aclose()
    assert_is_sound(path)


async def test_a_closed_store_says_so(store: SqliteStore) -> None:
    await make_workspace(store)
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.list_workspaces("ada")


async def test_closing_leaves_one_file(path: Path) -> None:
    async with open_sqlite(path) as store:
        await write(store, await make_workspace(store), {"a": b"1"})
    assert [each.name for each in path.parent.iterdir()] == ["vaporform.sqlite3"]
