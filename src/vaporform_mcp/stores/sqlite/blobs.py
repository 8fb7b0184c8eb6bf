"""Blobs in the store's file: each kept once, in chunks, and whole or not at all."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vaporform_mcp.errors import InvalidArgument, StoreUnavailable, TooLarge
from vaporform_mcp.stores.base import MAX_BLOB_BATCH_BYTES, Blob
from vaporform_mcp.stores.sqlite.failures import FILE
from vaporform_mcp.types import Digest

__all__ = [
    "CHUNK_BYTES",
    "Hasher",
    "Kept",
    "chunk",
    "condemn",
    "discard_upload",
    "drop",
    "find",
    "finish_upload",
    "grow_upload",
    "load",
    "put",
    "renew",
    "rows_of",
    "start_upload",
]

CHUNK_BYTES = 1024 * 1024
_ASKED_AT_ONCE = 500  # parameters of one statement; more save nothing


class Hasher(Protocol):
    def update(self, content: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of `blobs`: `uses` counts the changes that name it."""

    digest: Digest
    id: int
    size: int
    uses: int
    is_damaged: bool


def find(connection: sqlite3.Connection, digests: Collection[Digest]) -> dict[Digest, Kept]:
    """Those of `digests` that are kept whole, as far as is known."""
    return {kept.digest: kept for kept in rows_of(connection, digests) if not kept.is_damaged}


def renew(connection: sqlite3.Connection, digests: Collection[Digest], now: float) -> frozenset[Digest]:
    """Note that a writer relies on those that are kept whole; answers with the others."""
    kept = find(connection, digests)
    _touch(connection, kept.values(), now)
    return frozenset(digests) - kept.keys()


def put(connection: sqlite3.Connection, blobs: Sequence[Blob], now: float) -> None:
    _check(blobs)
    wanted = {blob.digest: blob for blob in blobs}
    rows = rows_of(connection, wanted)
    whole = {kept.digest: kept for kept in rows if not kept.is_damaged}
    uses = {kept.digest: kept.uses for kept in rows if kept.is_damaged}
    _touch(connection, whole.values(), now)
    drop(connection, [kept.id for kept in rows if kept.is_damaged])
    fresh = [blob for digest, blob in wanted.items() if digest not in whole]
    first: int = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM blobs").fetchone()[0]
    connection.executemany(
        "INSERT INTO blobs (id, digest, size, mime_type, put_at, uses) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (number, blob.digest, len(blob.content), blob.mime_type, now, uses.get(blob.digest, 0))
            for number, blob in enumerate(fresh, first)
        ],
    )
    connection.executemany(
        "INSERT INTO chunks (blob, seq, content) VALUES (?, ?, ?)",
        [
            (number, seq, blob.content[at : at + CHUNK_BYTES])
            for number, blob in enumerate(fresh, first)
            for seq, at in enumerate(range(0, len(blob.content), CHUNK_BYTES))
        ],
    )


def load(connection: sqlite3.Connection, digests: Collection[Digest]) -> tuple[Mapping[Digest, bytes], list[Kept]]:
    """The bytes of those that are kept, and those whose bytes turned out not to be what their digest says."""
    kept = find(connection, digests)
    size = sum(blob.size for blob in kept.values())
    if size > MAX_BLOB_BATCH_BYTES:
        raise TooLarge(
            f"{len(kept)} blobs of {size} bytes together are over the {MAX_BLOB_BATCH_BYTES} that one call may ask for",
            hint="Ask for them in several calls, and for a large one as a stream.",
        )
    loaded: dict[Digest, bytes] = {}
    damaged: list[Kept] = []
    for digest, blob in kept.items():
        rows = connection.execute("SELECT content FROM chunks WHERE blob = ? ORDER BY seq", (blob.id,)).fetchall()
        content: bytes = rows[0][0] if len(rows) == 1 else b"".join(row[0] for row in rows)
        if hashlib.sha256(content).hexdigest() == digest:
            loaded[digest] = content
        else:
            damaged.append(blob)
    return loaded, damaged


def chunk(connection: sqlite3.Connection, blob: int, seq: int, hasher: Hasher) -> bytes | None:
    """One chunk of a blob, hashed on the way."""
    row = connection.execute("SELECT content FROM chunks WHERE blob = ? AND seq = ?", (blob, seq)).fetchone()
    if row is None:
        return None
    hasher.update(row[0])
    return row[0]


def condemn(connection: sqlite3.Connection, damaged: Iterable[Kept]) -> None:
    """Note that the bytes kept are not what their digest says; putting them again then replaces them."""
    # Both columns: since it was read it may have been pruned and its id given to another.
    connection.executemany(
        "UPDATE blobs SET damaged = 1 WHERE id = ? AND digest = ?", [(kept.id, kept.digest) for kept in damaged]
    )


def drop(connection: sqlite3.Connection, blobs: Iterable[int]) -> None:
    rows = [(blob,) for blob in blobs]
    connection.executemany("DELETE FROM chunks WHERE blob = ?", rows)
    connection.executemany("DELETE FROM blobs WHERE id = ?", rows)


# A blob that comes as a stream: its row has no digest, so that nothing finds it, until its last chunk is kept. -----


def start_upload(connection: sqlite3.Connection, size: int, mime_type: str, now: float) -> int:
    sql = "INSERT INTO blobs (digest, size, mime_type, put_at) VALUES (NULL, ?, ?, ?) RETURNING id"
    return connection.execute(sql, (size, mime_type, now)).fetchone()[0]


def grow_upload(
    connection: sqlite3.Connection, *, upload: int, seq: int, content: bytes, hasher: Hasher, now: float
) -> None:
    _check_upload(connection, upload)
    hasher.update(content)
    connection.execute("INSERT INTO chunks (blob, seq, content) VALUES (?, ?, ?)", (upload, seq, content))
    connection.execute("UPDATE blobs SET put_at = ? WHERE id = ?", (now, upload))


def discard_upload(connection: sqlite3.Connection, upload: int) -> None:
    """Leave nothing of it. In a file that has taken the place of the one it began in, the number is another blob's."""
    if _is_upload(connection, upload):
        drop(connection, [upload])


def finish_upload(connection: sqlite3.Connection, blob: int, digest: Digest, now: float) -> None:
    _check_upload(connection, blob)
    rows = rows_of(connection, [digest])
    if rows and not rows[0].is_damaged:
        _touch(connection, rows, now)
        drop(connection, [blob])
        return
    drop(connection, [kept.id for kept in rows])
    connection.execute(
        "UPDATE blobs SET digest = ?, put_at = ?, uses = ? WHERE id = ?",
        (digest, now, sum(kept.uses for kept in rows), blob),
    )


def _check_upload(connection: sqlite3.Connection, upload: int) -> None:
    if not _is_upload(connection, upload):
        raise StoreUnavailable(
            f"{FILE} was replaced, or pruned, while a file was on its way into it", hint="Repeat the call."
        )


def _is_upload(connection: sqlite3.Connection, upload: int) -> bool:
    return connection.execute("SELECT 1 FROM blobs WHERE id = ? AND digest IS NULL", (upload,)).fetchone() is not None


def rows_of(connection: sqlite3.Connection, digests: Collection[Digest]) -> list[Kept]:
    wanted = list(digests)
    rows: list[Kept] = []
    for start in range(0, len(wanted), _ASKED_AT_ONCE):
        some = wanted[start : start + _ASKED_AT_ONCE]
        marks = ",".join("?" * len(some))
        sql = f"SELECT digest, id, size, uses, damaged FROM blobs WHERE digest IN ({marks})"  # noqa: S608  # marks only
        rows += [
            Kept(digest, id_, size, uses, bool(bad)) for digest, id_, size, uses, bad in connection.execute(sql, some)
        ]
    return rows


def _check(blobs: Sequence[Blob]) -> None:
    size = sum(len(blob.content) for blob in blobs)
    if size > MAX_BLOB_BATCH_BYTES:
        raise TooLarge(
            f"{len(blobs)} blobs of {size} bytes together are over the {MAX_BLOB_BATCH_BYTES} that one call may put",
            hint="Put them in several calls, and a large one as a stream.",
        )
    for blob in blobs:
        if hashlib.sha256(blob.content).hexdigest() != blob.digest:
            raise InvalidArgument(f"the content put as {blob.digest} has another digest", hint="Read the file again.")


def _touch(connection: sqlite3.Connection, blobs: Iterable[Kept], now: float) -> None:
    connection.executemany("UPDATE blobs SET put_at = ? WHERE id = ?", [(now, kept.id) for kept in blobs])
