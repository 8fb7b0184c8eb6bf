"""A file that was handed over: what is taken in, and what is refused before anything is."""

# ruff: noqa: ASYNC240  # the files are small, and nothing else waits for the event loop

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.stores import append, digest_of, file, record, write
from vaporform_mcp.care.unfinished import UNFINISHED_S, forget_unfinished, importer_for
from vaporform_mcp.errors import Conflict, InvalidArgument, NotFound
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.sqlite import new_bundle, open_bundle, open_sqlite
from vaporform_mcp.transfer.copying import copy_workspace
from vaporform_mcp.transfer.importing import check_workspace, import_workspace
from vaporform_mcp.types import WorkspaceName

Forge = Callable[[sqlite3.Connection], object]


@pytest.fixture
async def bundle(tmp_path: Path) -> Path:
    async with open_sqlite(tmp_path / "source.sqlite3") as source:
        made = await source.create_workspace(record("site"))
        await write(source, made.id, {"a": b"one", "b/c": b"two"})
        await write(source, made.id, {"a": b"three"}, label="kept")
        async with new_bundle(tmp_path / "bundle.db") as target:
            await copy_workspace(source, made, target)
    return tmp_path / "bundle.db"


async def take_in(bundle: Path, store: Store, name: str = "mine") -> None:
    async with open_bundle(bundle) as source:
        (found,) = await source.list_workspaces("ada")
        await check_workspace(source, found)
        await import_workspace(source, found, store, owner="ada", name=WorkspaceName(name), provider="local")


async def test_a_bundle_is_one_file_that_is_read_where_nothing_can_be_written(bundle: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("bundle")) == ["bundle.db"]
    bundle.chmod(0o400)
    before = (bundle.read_bytes(), bundle.stat().st_mtime_ns)
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        await take_in(bundle, store)
        mine = await store.get_workspace("ada", "mine")
        assert mine is not None
        assert [(each.number, each.label) for each in await store.log(mine.id)] == [(2, "kept"), (1, None)]
        assert await store.tree(mine.id) == {"a": file(b"three"), "b/c": file(b"two")}
        assert await store.tree(mine.id, 1) == {"a": file(b"one"), "b/c": file(b"two")}
        assert (await store.verify()).blobs == 3
    assert (bundle.read_bytes(), bundle.stat().st_mtime_ns) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("bundle")) == ["bundle.db"]


async def test_taken_in_twice_they_are_two_workspaces_that_share_nothing_but_contents(
    bundle: Path, tmp_path: Path
) -> None:
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        await take_in(bundle, store, "one")
        await take_in(bundle, store, "two")
        with pytest.raises(Conflict, match="there is a workspace one already"):
            await take_in(bundle, store, "one")
        one, two = await store.get_workspace("ada", "one"), await store.get_workspace("ada", "two")
        assert one is not None
        assert two is not None
        await write(store, one.id, {"a": b"changed"})
        assert await store.tree(two.id) == {"a": file(b"three"), "b/c": file(b"two")}
        assert await store.list_workspaces("ada", deleted=True) == []


def renamed(old: str, new: str) -> Forge:
    def forge(connection: sqlite3.Connection) -> None:
        for table in ("changes", "latest"):
            connection.execute(f"UPDATE {table} SET path = ? WHERE path = ?", (new, old))  # noqa: S608

    return forge


def replaced(old: bytes, new: bytes) -> Forge:
    sql = "UPDATE chunks SET content = ? WHERE blob = (SELECT id FROM blobs WHERE digest = ?)"
    return lambda connection: connection.execute(sql, (new, digest_of(old)))


def dropped(content: bytes) -> Forge:
    return lambda connection: connection.execute("DELETE FROM blobs WHERE digest = ?", (digest_of(content),))


def run(sql: str) -> Forge:
    return lambda connection: connection.executescript(sql)


def unindexed(connection: sqlite3.Connection) -> None:
    """A row of `changes` that is in the table, and not in the index that a history is read by."""
    name = "changes_by_number"
    (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    partial = f"{sql} WHERE path <> 'b/c'"
    connection.executescript(f"DROP INDEX {name}; {partial}; PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, name))


FORGED: dict[str, tuple[Forge, str]] = {
    "a content that was changed": (
        replaced(b"three", b"longer than three"),
        "not as long",
    ),
    "a content of the same length": (
        replaced(b"three", b"thr33"),
        "not what their digests say",
    ),
    "a content of an old revision": (
        replaced(b"one", b"ONE"),
        "not what their digests say",
    ),
    "a content that is missing": (dropped(b"one"), "missing"),
    "a content that is longer than it says": (run("UPDATE blobs SET size = 1"), "not as long"),
    "a file that is shorter than it says": (run("UPDATE changes SET size = 99"), "not as long"),
    "one huge chunk": (
        run("UPDATE blobs SET size = 2000000; UPDATE changes SET size = 2000000;"
            "UPDATE chunks SET content = zeroblob(2000000)"),
        "not as long",
    ),
    "a path out of the workspace": (renamed("b/c", "../escape"), "leave the workspace"),
    "an absolute path": (renamed("b/c", "/etc/passwd"), "leave the workspace"),
    "a path with an empty part": (renamed("b/c", "b//c"), "leave the workspace"),
    "a file as a parent": (renamed("b/c", "a/x"), "lies below 'a'"),
    "a path that is no text": (
        run("UPDATE changes SET path = CAST(x'ff' AS TEXT) WHERE path = 'b/c';"
            "UPDATE latest SET path = CAST(x'ff' AS TEXT) WHERE path = 'b/c'"),
        "decode",
    ),
    "a mode that none can have": (run("UPDATE changes SET mode = 65535"), "mode"),
    "a time that none can have": (run("UPDATE revisions SET time = 9e999"), "time"),
    "files that are not the newest revision's": (run("UPDATE latest SET number = 1"), "newest revision"),
    "a trigger": (
        run("CREATE TRIGGER t AFTER INSERT ON blobs BEGIN DELETE FROM chunks; END"), "tables are not those of a store"
    ),
    "a view": (run("CREATE VIEW v AS SELECT 1"), "tables are not those of a store"),
    "a record that cannot be read": (run("UPDATE workspaces SET record = '[]'"), "record cannot be read"),
    "a record too deep to be read": (
        run("UPDATE workspaces SET record = replace(hex(zeroblob(50000)), '00', '[')"), "record cannot be read"
    ),
    "a record of other types": (
        run("UPDATE workspaces SET record = json_set(record, '$.spec.git_url', json('[1]'))"), "record cannot be read"
    ),
    "a workspace of a time that none can have": (run("UPDATE workspaces SET created_at = 9e999"), "time"),
    "a label that would be taken for a number": (run("UPDATE revisions SET label = '12' WHERE number = 2"), "label"),
    "a label of two lines": (run("UPDATE revisions SET label = 'a' || char(10) || 'b' WHERE number = 2"), "label"),
    "a path of endless folders": (renamed("b/c", "a/" * 30_000 + "c"), "leave the workspace"),
    "a whole content that is marked as damaged": (run("UPDATE blobs SET damaged = 1"), "cannot be had"),
    "an index that leaves a row out": (unindexed, "damaged"),
    "another program's file": (run("PRAGMA application_id = 7"), "another program"),
    "a newer file": (run("PRAGMA user_version = 99"), "a newer vaporform-mcp"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
async def test_what_is_forged_or_damaged_is_refused_and_nothing_of_it_is_taken_over(
    bundle: Path, tmp_path: Path, name: str
) -> None:
    forge, said = FORGED[name]
    with closing(sqlite3.connect(bundle)) as connection:
        forge(connection)
        connection.commit()
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        with pytest.raises(InvalidArgument, match=said) as refused:
            await take_in(bundle, store)
        assert len(refused.value.message) < 1000
        assert await store.list_workspaces("ada") == []
        assert await store.list_workspaces("ada", deleted=True) == []
        assert (await store.verify()).blobs == 0


@pytest.mark.parametrize("cut", [0, 100, 5000, 40_000])
async def test_a_file_that_was_cut_short_is_refused(bundle: Path, cut: int) -> None:
    bundle.write_bytes(bundle.read_bytes()[:cut])
    with pytest.raises(InvalidArgument, match="cannot be imported"):
        async with open_bundle(bundle):
            pass


async def test_a_file_as_a_parent_is_refused_also_where_only_an_old_revision_has_it(tmp_path: Path) -> None:
    path = tmp_path / "bundle.db"
    async with new_bundle(path) as store:
        made = await store.create_workspace(record("site"))
        await write(store, made.id, {"a.txt": b"1", "b": b"2"})
        await append(store, made.id, {"a.txt/x": file(b"1")})
        await append(store, made.id, {"a.txt": None})
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        with pytest.raises(InvalidArgument, match=r"lies below 'a\.txt'"):
            await take_in(path, store)


async def test_a_file_that_becomes_a_folder_in_one_revision_is_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "bundle.db"
    async with new_bundle(path) as store:
        made = await store.create_workspace(record("site"))
        await write(store, made.id, {"a": b"1", "d/e/f": b"2"})
        await write(store, made.id, {"a/x": b"1", "a": None, "d/e": b"3", "d/e/f": None})
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        await take_in(path, store)
        mine = await store.get_workspace("ada", "mine")
        assert mine is not None
        assert set(await store.tree(mine.id)) == {"a/x", "d/e"}


async def test_a_bundle_that_could_not_be_finished_is_no_file(tmp_path: Path) -> None:
    async def fail() -> None:
        async with new_bundle(tmp_path / "bundle.db") as store:
            await store.create_workspace(record("site"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_there_is_kept_unless_it_is_to_be_replaced(bundle: Path) -> None:
    before = bundle.read_bytes()
    with pytest.raises(Conflict, match="is there already"):
        async with new_bundle(bundle):
            pass
    assert bundle.read_bytes() == before
    async with new_bundle(bundle, overwrite=True) as store:
        await store.create_workspace(record("other"))
    async with open_bundle(bundle) as store:
        assert [each.name for each in await store.list_workspaces("ada")] == ["other"]


async def test_a_bundle_is_not_put_beside_the_log_of_a_file_that_is_in_use(bundle: Path, tmp_path: Path) -> None:
    before = bundle.read_bytes()
    async with open_sqlite(bundle) as used:
        await write(used, (await used.list_workspaces("ada"))[0].id, {"a": b"newer"})
        with pytest.raises(Conflict, match="lies the log"):
            async with new_bundle(bundle, overwrite=True):
                pass
    assert bundle.read_bytes() != before
    async with open_sqlite(bundle) as store:
        (found,) = await store.list_workspaces("ada")
        assert await store.tree(found.id) == {"a": file(b"newer"), "b/c": file(b"two")}


async def test_a_bundle_becomes_a_store_by_being_put_in_its_place(bundle: Path) -> None:
    async with open_sqlite(bundle) as store:
        (found,) = await store.list_workspaces("ada")
        assert (await write(store, found.id, {"a": b"four"})).number == 3
    with closing(sqlite3.connect(bundle)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_what_a_killed_import_left_is_nobodys_and_forgotten_after_a_day(bundle: Path, tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        now = time.time()
        left = replace(record("mine", owner=importer_for("ada")), deleted_at=now, last_used_at=now - UNFINISHED_S - 1)
        under_way = replace(record("mine", owner=importer_for("ada")), deleted_at=now, last_used_at=now - 60)
        for each in (left, under_way):
            await write(store, (await store.create_workspace(each)).id, {"a": b"one"})
        assert [*await store.list_workspaces("ada"), *await store.list_workspaces("ada", deleted=True)] == []
        await take_in(bundle, store)
        assert [each.name for each in await store.list_workspaces("ada")] == ["mine"]
        assert await store.list_workspaces("ada", deleted=True) == []
        (kept,) = await store.list_workspaces(importer_for("ada"), deleted=True)
        assert kept.id == under_way.id
        with pytest.raises(NotFound):
            await store.head(left.id)
        await forget_unfinished(store, "ada", now=now + UNFINISHED_S)
        assert await store.list_workspaces(importer_for("ada"), deleted=True) == []
        assert await store.tree((await store.list_workspaces("ada"))[0].id)
