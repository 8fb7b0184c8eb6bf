"""Care for the store's file, in steps that are each a short transaction: pruning, clearing up, re-hashing."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.base import PruneReport
from vaporform_mcp.stores.sqlite import blobs
from vaporform_mcp.stores.sqlite.blobs import Kept
from vaporform_mcp.stores.sqlite.failures import FILE
from vaporform_mcp.stores.sqlite.workspaces import key_of
from vaporform_mcp.types import Digest

__all__ = [
    "Place",
    "Rehashed",
    "Swept",
    "Walk",
    "clear_some",
    "drop_revisions",
    "forecast",
    "give_back",
    "named_by",
    "orphans",
    "rehash",
    "sweep",
    "thin_out",
    "unkept",
    "used",
    "used_after",
]

_ROWS_A_STEP = 5000
_BLOBS_A_STEP = 500
_BYTES_A_STEP = 64 * 1024 * 1024
_PAGES_A_STEP = 2000

# Every revision over `keep_after` is kept, and of the others the checkpoints. A change is of use while one of them sees
# it: from its own number to before the path's next change. A removal is of use while an older one may have the path.
# The plus keeps SQLite from searching by number, over and over, where a walk goes by path.
_NEXT = """
    ifnull((
        SELECT min(number) FROM changes AS next
        WHERE next.workspace = :key AND next.path = changes.path AND next.number > changes.number
    ), 9223372036854775807)
"""
_CHECKPOINTS = "SELECT 1 FROM revisions AS kept WHERE kept.workspace = :key AND kept.label IS NOT NULL"
_USELESS = f"""
    +number <= :keep_after AND (
        {_NEXT} <= :keep_after + 1 AND NOT EXISTS (
            {_CHECKPOINTS} AND kept.number >= changes.number AND kept.number < {_NEXT}
        ) OR kind IS NULL AND NOT EXISTS (
            {_CHECKPOINTS} AND kept.number < changes.number
        )
    )
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk over the changes of a workspace has got to."""

    path: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Walk:
    """A workspace whose revisions up to `keep_after` were dropped, so many of them."""

    key: int
    keep_after: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Swept:
    """The blobs that went, and the id to go on after (None: done)."""

    last: int | None
    blobs: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Rehashed:
    """How many digests were done, and what was found of those."""

    done: int
    whole: int
    size_bytes: int
    missing: Sequence[Digest]
    corrupt: Sequence[Kept]


def _bound(connection: sqlite3.Connection, workspace_id: str, keep_after: int) -> tuple[int, int]:
    """The workspace's key, and the newest revision that may go: never the head."""
    key = key_of(connection, workspace_id)
    row = connection.execute("SELECT number FROM heads WHERE workspace = ?", (key,)).fetchone()
    return key, min(keep_after, row[0] - 1)


def forecast(connection: sqlite3.Connection, workspace_id: str, keep_after: int, put_before: float) -> PruneReport:
    """What pruning would drop."""
    key, keep_after = _bound(connection, workspace_id, keep_after)
    named = {"key": key, "keep_after": keep_after, "put_before": put_before}
    revisions = connection.execute(
        "SELECT count(*) FROM revisions WHERE workspace = :key AND number <= :keep_after AND label IS NULL", named
    ).fetchone()[0]
    row = connection.execute(
        f"""
        SELECT count(*), ifnull(sum(size), 0) FROM blobs LEFT JOIN (
            SELECT digest AS gone, count(*) AS times FROM changes WHERE workspace = :key AND {_USELESS} GROUP BY digest
        ) ON gone = digest
        WHERE digest IS NOT NULL AND uses = ifnull(times, 0) AND put_at <= :put_before
        """,  # noqa: S608  # constants
        named,
    ).fetchone()
    return PruneReport(revisions=revisions, blobs=row[0], size_bytes=row[1])


def drop_revisions(connection: sqlite3.Connection, workspace_id: str, keep_after: int) -> Walk:
    """Drop the revisions themselves, which makes changes useless that `thin_out` then drops."""
    key, keep_after = _bound(connection, workspace_id, keep_after)
    sql = "DELETE FROM revisions WHERE workspace = ? AND number <= ? AND label IS NULL"
    return Walk(key, keep_after, connection.execute(sql, (key, keep_after)).rowcount)


def thin_out(connection: sqlite3.Connection, walk: Walk, place: Place) -> Place | None:
    """Drop changes that no kept revision sees, from `place` on; answers with where to go on."""
    left = "SELECT 1 FROM revisions WHERE workspace = ? AND number <= ? AND label IS NULL"
    if connection.execute(left, (walk.key, walk.keep_after)).fetchone() is not None:
        # Another file has taken the place of the one whose revisions were dropped.
        raise StoreUnavailable(f"{FILE} was replaced while it was pruned", hint="Repeat the call.")
    named: dict[str, str | int] = {"key": walk.key, "path": place.path, "number": place.number, "step": _ROWS_A_STEP}
    rows = "FROM changes WHERE workspace = :key AND (path, number) > (:path, :number)"
    last = connection.execute(
        f"SELECT path, number {rows} ORDER BY path, number LIMIT 1 OFFSET :step",
        named,
    ).fetchone()
    named["keep_after"] = walk.keep_after
    until = ""
    if last is not None:
        until = "AND (path, number) <= (:last_path, :last_number)"
        named["last_path"], named["last_number"] = last
    gone = connection.execute(
        f"DELETE {rows} {until} AND {_USELESS} RETURNING path, number, digest",
        named,
    ).fetchall()
    _disuse(connection, (digest for _, _, digest in gone))
    connection.executemany(
        "DELETE FROM latest WHERE workspace = ? AND path = ? AND number = ?",
        [(walk.key, row[0], row[1]) for row in gone],
    )
    return None if last is None else Place(*last)


def orphans(connection: sqlite3.Connection) -> Sequence[int]:
    """The keys of workspaces that were deleted and have left something behind."""
    sql = """
        SELECT workspace FROM (
            SELECT workspace FROM heads UNION SELECT workspace FROM revisions
            UNION SELECT workspace FROM latest UNION SELECT workspace FROM changes
        ) WHERE workspace NOT IN (SELECT key FROM workspaces)
    """
    return [row[0] for row in connection.execute(sql)]


def clear_some(connection: sqlite3.Connection, key: int) -> bool:
    """Remove some of what a deleted workspace has left behind; answers whether there may be more."""
    # A file that has taken the place of the one where it was deleted has another workspace by that key.
    if connection.execute("SELECT 1 FROM workspaces WHERE key = ?", (key,)).fetchone() is not None:
        return False
    place = "workspace = ? AND (path, number) IN (SELECT path, number FROM changes WHERE workspace = ? LIMIT ?)"
    gone = connection.execute(
        f"DELETE FROM changes WHERE {place} RETURNING digest",  # noqa: S608  # a constant
        (key, key, _ROWS_A_STEP),
    ).fetchall()
    _disuse(connection, (digest for (digest,) in gone))
    if gone:
        return True
    for table in ("latest", "revisions", "heads"):
        connection.execute(f"DELETE FROM {table} WHERE workspace = ?", (key,))  # noqa: S608  # a constant
    return False


def sweep(connection: sqlite3.Connection, after: int, *, put_before: float, grown_before: float) -> Swept:
    """Drop unused blobs, and uploads that have not grown since `grown_before`, with ids over `after`."""
    rows = connection.execute(
        """
        SELECT id, size, digest IS NOT NULL FROM blobs
        WHERE id > ? AND uses = 0 AND put_at <= CASE WHEN digest IS NULL THEN ? ELSE ? END ORDER BY id LIMIT ?
        """,
        (after, grown_before, put_before, _BLOBS_A_STEP),
    ).fetchall()
    taken = 0
    size_bytes = 0
    while taken < len(rows) and (taken == 0 or size_bytes + rows[taken][1] <= _BYTES_A_STEP):
        size_bytes += rows[taken][1]
        taken += 1
    blobs.drop(connection, [row[0] for row in rows[:taken]])
    whole = [row for row in rows[:taken] if row[2]]
    return Swept(rows[taken - 1][0] if rows else None, len(whole), sum(row[1] for row in whole))


def give_back(connection: sqlite3.Connection) -> bool:
    """Give free pages of the file back to the disk; answers whether there may be more."""
    before: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})").fetchall()
    after: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    # None goes where somebody has vacuumed the file into another mode.
    return 0 < after < before


def named_by(connection: sqlite3.Connection, workspace_id: str) -> Sequence[Digest]:
    """Every digest that a kept change of the workspace names."""
    sql = "SELECT DISTINCT digest FROM changes WHERE workspace = ? AND digest IS NOT NULL"
    return [row[0] for row in connection.execute(sql, (key_of(connection, workspace_id),))]


def used(connection: sqlite3.Connection, workspace_id: str | None) -> int:
    """How many blobs a kept change, of one workspace or of any, names."""
    if workspace_id is None:
        return connection.execute("SELECT count(*) FROM blobs WHERE uses > 0 AND digest IS NOT NULL").fetchone()[0]
    sql = "SELECT count(DISTINCT digest) FROM changes WHERE workspace = ?"
    return connection.execute(sql, (key_of(connection, workspace_id),)).fetchone()[0]


def used_after(connection: sqlite3.Connection, digest: str) -> Sequence[Digest]:
    """The next digests, in order, of blobs that some change names."""
    sql = "SELECT digest FROM blobs WHERE digest > ? AND uses > 0 ORDER BY digest LIMIT ?"
    return [row[0] for row in connection.execute(sql, (digest, _BLOBS_A_STEP))]


def unkept(connection: sqlite3.Connection) -> Sequence[Digest]:
    """Digests that a change names and no blob has."""
    sql = """
        SELECT DISTINCT digest FROM changes WHERE digest IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.digest = changes.digest)
    """
    return [row[0] for row in connection.execute(sql)]


def rehash(connection: sqlite3.Connection, digests: Sequence[Digest], start: int) -> Rehashed:
    """Read and hash blobs from `start` on, until it has been enough for one step."""
    some = digests[start : start + _BLOBS_A_STEP]
    kept = {blob.digest: blob for blob in blobs.rows_of(connection, some)}
    missing: list[Digest] = []
    corrupt: list[Kept] = []
    done = whole = size_bytes = 0
    for digest in some:
        if done and size_bytes >= _BYTES_A_STEP:
            break
        done += 1
        blob = kept.get(digest)
        if blob is None:
            missing.append(digest)
            continue
        hashed, size = _hash(connection, blob)
        size_bytes += size
        if hashed == digest:
            whole += 1
        else:
            corrupt.append(blob)
    return Rehashed(done, whole, size_bytes, missing, corrupt)


def _hash(connection: sqlite3.Connection, blob: Kept) -> tuple[str, int]:
    hasher, size = hashlib.sha256(), 0
    for (content,) in connection.execute("SELECT content FROM chunks WHERE blob = ? ORDER BY seq", (blob.id,)):
        hasher.update(content)
        size += len(content)
    return hasher.hexdigest(), size


def _disuse(connection: sqlite3.Connection, digests: Iterable[str | None]) -> None:
    named = [(digest,) for digest in digests if digest is not None]
    connection.executemany("UPDATE blobs SET uses = uses - 1 WHERE digest = ?", named)
