"""The SQLite store: bytes that are not what they were, and what a server that died has left behind."""

# ruff: noqa: ASYNC240  # the files are small, and nothing else waits for the event loop

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.stores import Clock, append, blob, digest_of, file, make_workspace, streamed, write
from vaporform_mcp.errors import NotFound
from vaporform_mcp.stores.base import PruneReport
from vaporform_mcp.stores.sqlite import SqliteStore, open_sqlite
from vaporform_mcp.types import Digest

GOOD, OTHER = b"good content", b"other content"
LARGE = os.urandom(3 * 1024 * 1024 + 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vaporform.sqlite3"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    async with open_sqlite(path, clock=clock) as opened:
        yield opened


def by_hand(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql, values)
        connection.commit()


def tamper(path: Path, digest: Digest, content: bytes, seq: int = 0) -> None:
    sql = "UPDATE chunks SET content = ? WHERE seq = ? AND blob = (SELECT id FROM blobs WHERE digest = ?)"
    by_hand(path, sql, content, seq, digest)


async def test_a_tampered_blob_is_left_out_and_from_then_on_missing(store: SqliteStore, path: Path) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"good": GOOD, "other": OTHER})
    tamper(path, digest_of(GOOD), b"evil content")
    assert await store.get_blobs([digest_of(GOOD), digest_of(OTHER)]) == {digest_of(OTHER): OTHER}
    assert await store.missing([digest_of(GOOD), digest_of(OTHER)]) == {digest_of(GOOD)}
    with pytest.raises(NotFound):
        await append(store, workspace, {"copy": file(GOOD)})


async def test_putting_a_damaged_blob_again_mends_it_for_all_who_name_it(
    store: SqliteStore, path: Path, clock: Clock
) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"small": GOOD})
    await store.put_large_blob(digest_of(LARGE), len(LARGE), streamed(LARGE, 100_000), "text/plain")
    await append(store, workspace, {"large": file(LARGE)})
    tamper(path, digest_of(GOOD), b"")
    tamper(path, digest_of(LARGE), b"evil", seq=2)
    assert set((await store.verify()).corrupt) == {digest_of(GOOD), digest_of(LARGE)}
    await store.put_blobs([blob(GOOD)])
    await store.put_large_blob(digest_of(LARGE), len(LARGE), streamed(LARGE, 100_000), "text/plain")
    clock.now += 100
    assert await store.prune(workspace, keep_after=0, grace_s=10) == PruneReport(revisions=0, blobs=0, size_bytes=0)
    report = await store.verify()
    assert (report.blobs, list(report.corrupt), list(report.missing)) == (2, [], [])
    assert await store.get_blobs([digest_of(GOOD), digest_of(LARGE)]) == {
        digest_of(GOOD): GOOD,
        digest_of(LARGE): LARGE,
    }


@pytest.mark.parametrize("seq", [0, 1, 3])
async def test_a_stream_with_a_wrong_chunk_never_ends_well(store: SqliteStore, path: Path, seq: int) -> None:
    await store.put_large_blob(digest_of(LARGE), len(LARGE), streamed(LARGE, 100_000), "text/plain")
    tamper(path, digest_of(LARGE), b"evil!", seq=seq)
    with pytest.raises(NotFound):
        async for _ in store.stream_blob(digest_of(LARGE)):
            pass
    assert await store.missing([digest_of(LARGE)]) == {digest_of(LARGE)}


@pytest.mark.parametrize("seq", [0, 1, 3])
async def test_a_stream_that_lacks_a_chunk_never_ends_well(store: SqliteStore, path: Path, seq: int) -> None:
    await store.put_large_blob(digest_of(LARGE), len(LARGE), streamed(LARGE, 100_000), "text/plain")
    by_hand(path, "DELETE FROM chunks WHERE seq = ?", seq)
    with pytest.raises(NotFound):
        async for _ in store.stream_blob(digest_of(LARGE)):
            pass
    assert await store.get_blobs([digest_of(LARGE)]) == {}


async def test_verifying_names_what_is_missing_and_what_is_corrupt(store: SqliteStore, path: Path) -> None:
    one, two = await make_workspace(store, "one"), await make_workspace(store, "two")
    await write(store, one, {"a": b"a", "b": GOOD})
    await write(store, two, {"a": b"a", "c": OTHER})
    tamper(path, digest_of(GOOD), b"evil content")
    by_hand(path, "DELETE FROM blobs WHERE digest = ?", digest_of(OTHER))
    whole = await store.verify()
    assert (whole.blobs, whole.missing, whole.corrupt) == (2, [digest_of(OTHER)], [digest_of(GOOD)])
    first, second = await store.verify(one), await store.verify(two)
    assert (first.blobs, first.missing, first.corrupt) == (2, [], [digest_of(GOOD)])
    assert (second.blobs, second.missing, second.corrupt) == (1, [digest_of(OTHER)], [])


async def test_what_a_dead_server_had_half_put_is_never_seen_and_goes_in_time(
    store: SqliteStore, path: Path, clock: Clock
) -> None:
    workspace = await make_workspace(store)
    by_hand(
        path,
        "INSERT INTO blobs (id, digest, size, mime_type, put_at) VALUES (77, NULL, ?, 'text/plain', ?)",
        len(LARGE),
        clock.now,
    )
    by_hand(path, "INSERT INTO chunks (blob, seq, content) VALUES (77, 0, ?)", LARGE[: 1024 * 1024])
    await store.put_large_blob(digest_of(LARGE), len(LARGE), streamed(LARGE, 100_000), "text/plain")
    await append(store, workspace, {"large": file(LARGE)})

    def left() -> int:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT count(*) FROM chunks WHERE blob = 77").fetchone()[0]

    clock.now += 3000
    await store.prune(workspace, keep_after=0, grace_s=0)
    assert left() == 1
    clock.now += 1000
    await store.prune(workspace, keep_after=0, grace_s=0)
    assert left() == 0
    assert await store.get_blobs([digest_of(LARGE)]) == {digest_of(LARGE): LARGE}


async def test_what_a_half_done_delete_has_left_is_removed_by_the_next_prune(
    store: SqliteStore, path: Path, clock: Clock
) -> None:
    kept, gone = await make_workspace(store, "kept"), await make_workspace(store, "gone")
    await write(store, gone, {"a": GOOD})
    by_hand(path, "DELETE FROM workspaces WHERE id = ?", gone)
    clock.now += 100
    assert (await store.prune(kept, keep_after=0, grace_s=10)).blobs == 1
    with closing(sqlite3.connect(path)) as connection:
        for table in ("changes", "latest", "revisions"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608  # our own names


async def test_pruning_gives_room_back_to_the_disk(store: SqliteStore, path: Path, clock: Clock) -> None:
    workspace = await make_workspace(store)
    for _ in range(3):
        await write(store, workspace, {f"f{number}": os.urandom(100_000) for number in range(100)})
    await store.aclose()
    full = path.stat().st_size
    async with open_sqlite(path, clock=clock) as again:
        clock.now += 100
        await again.prune(workspace, keep_after=2, grace_s=10)
    assert path.stat().st_size < full / 2


async def test_pruning_ends_where_somebody_keeps_the_file_from_shrinking(
    store: SqliteStore, path: Path, clock: Clock
) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(os.urandom(100_000))])
    await store.aclose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    async with open_sqlite(path, clock=clock) as again:
        clock.now += 100
        assert (await again.prune(workspace, keep_after=0, grace_s=10)).blobs == 1
