"""A store's file that is handed from one person to another: sealed as one file, and checked before it is believed."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from anyio import to_thread

from vaporform_mcp.errors import Conflict, InvalidArgument
from vaporform_mcp.locks import held_folder
from vaporform_mcp.stores.sqlite import workspaces
from vaporform_mcp.stores.sqlite.blobs import CHUNK_BYTES
from vaporform_mcp.stores.sqlite.failures import translated
from vaporform_mcp.stores.sqlite.files import connect_read_only
from vaporform_mcp.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from vaporform_mcp.stores.sqlite.store import SqliteStore, open_sqlite

__all__ = ["new_bundle", "open_bundle"]

_PARTIAL = ".partial"
_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"

# What the rest relies on when it reads: in a file of our own it always holds.
_CONSISTENT = {
    "a content is not as long as it says": f"""
        SELECT 1 FROM blobs LEFT JOIN (
            SELECT blob, sum(length(content)) AS total, max(length(content)) AS longest FROM chunks GROUP BY blob
        ) ON blob = blobs.id
        WHERE digest IS NOT NULL AND (size <> ifnull(total, 0) OR longest > {CHUNK_BYTES})
    """,  # noqa: S608  # a constant
    "a file is not as long as its content": """
        SELECT 1 FROM changes JOIN blobs USING (digest) WHERE changes.size <> blobs.size
    """,
    "a file has a mode that none can have": """
        SELECT 1 FROM changes WHERE kind IS NOT NULL
        AND (mode IS NULL OR mode NOT BETWEEN 0 AND 4095 OR size IS NULL OR digest IS NULL OR mime_type IS NULL)
    """,
    "a revision has a number or time that none can have": """
        SELECT 1 FROM revisions WHERE number NOT BETWEEN 1 AND 1e15 OR epoch NOT BETWEEN 0 AND 1e9
        OR time NOT BETWEEN 0 AND 1e11 OR min(added, changed, removed) < 0
    """,
    "a workspace has a time that none can have": """
        SELECT 1 FROM workspaces WHERE created_at NOT BETWEEN 0 AND 1e11 OR last_used_at NOT BETWEEN 0 AND 1e11
    """,
    "the files as they are now are not those of the newest revision": """
        SELECT 1 FROM changes LEFT JOIN latest USING (workspace, path)
        GROUP BY workspace, path HAVING max(changes.number) IS NOT latest.number
    """,
}

# Read once before anything relies on them: SQLite keeps text that is no text, and fails when it is fetched.
_TEXTS = (
    "SELECT path, digest, mime_type FROM changes",
    "SELECT id, made_by, label FROM revisions",
    "SELECT digest, mime_type FROM blobs",
)


@asynccontextmanager
async def new_bundle(path: Path, *, overwrite: bool = False) -> AsyncGenerator[SqliteStore]:
    """A new store that becomes the file at `path` when the block ends well; else there is none, or the one before.

    It grows in a folder beside it. What an earlier run for the same file has left there that was killed is removed.

    Raises:
        Conflict: there is a file of that name, or a log that would be taken for its own.
        OSError: as the system does.
    """
    _check_free(path, overwrite=overwrite)
    begins = f".{path.name[:100]}."
    for left in path.parent.glob(f"{glob.escape(begins)}*{_PARTIAL}"):
        _remove_if_abandoned(left)
    folder = path.with_name(f"{begins}{secrets.token_hex(8)}{_PARTIAL}")
    folder.mkdir(mode=0o700)
    try:
        with held_folder(folder):
            # One folder deeper, since the store itself locks the one that it makes its file in.
            temporary = folder / "new" / "store"
            async with open_sqlite(temporary) as store:
                yield store
            await to_thread.run_sync(_seal, temporary)
            _check_free(path, overwrite=overwrite)
            temporary.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_abandoned(folder: Path) -> None:
    with suppress(OSError), held_folder(folder):
        shutil.rmtree(folder)


def _check_free(path: Path, *, overwrite: bool) -> None:
    if path.is_dir() or (path.exists() and not overwrite):
        raise Conflict(f"{str(path)!r} is there already", hint="Name another file, or add --overwrite to replace it.")
    if any(path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-journal")):
        # SQLite would take the log of the file before for one of the new file's, and ruin that.
        raise Conflict(
            f"beside {str(path)!r} lies the log of a database of that name",
            hint="Name another file, or end the program that has that one open.",
        )


def _seal(path: Path) -> None:
    """Make the file complete by itself, with no log beside it, and durable. Nobody may have it open."""
    with translated(), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def open_bundle(path: Path) -> AsyncGenerator[SqliteStore]:
    """The store in somebody's file, which is never written to. Its contents are still to be verified.

    Raises:
        InvalidArgument: it is none, or is damaged, of another version, or not as this program makes it.
    """
    try:
        await to_thread.run_sync(_check, path)
    except OSError as error:
        raise InvalidArgument(
            f"the file {str(path)!r} cannot be read: {error.strerror}", hint="Name a file that you may read."
        ) from error
    async with open_sqlite(path, read_only=True) as store:
        yield store


def _check(path: Path) -> None:
    if not path.is_file():
        raise InvalidArgument(f"there is no file {str(path)!r}", hint="Name a file that `export --bundle` made.")
    with path.open("rb"):  # SQLite does not tell why it cannot be opened
        pass
    try:
        with closing(connect_read_only(path, busy_s=5.0)) as connection:
            _check_schema(connection)
            # Not quick_check, which passes over an index that leaves rows out: so would what is read by it.
            problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if problem != "ok":
                raise _refused(f"it is damaged ({problem})")
            for fault, question in _CONSISTENT.items():
                if connection.execute(f"{question} LIMIT 1").fetchone() is not None:
                    raise _refused(fault)
            _read_texts(connection)
    except sqlite3.DatabaseError as error:
        raise _refused(f"SQLite says: {error}") from error


def _check_schema(connection: sqlite3.Connection) -> None:
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if owner != APPLICATION_ID:
        raise _refused("it is a database of another program")
    if version != SCHEMA_VERSION:
        by = "a newer" if version > SCHEMA_VERSION else "an older"
        raise _refused(f"it was made by {by} vaporform-mcp (schema {version}; this one knows {SCHEMA_VERSION})")
    with closing(sqlite3.connect(":memory:")) as ours:
        for statements in MIGRATIONS:
            for statement in statements:
                ours.execute(statement)
        expected = set(ours.execute(_OBJECTS))
    # Also views and triggers: they would run as if they were our own.
    if set(connection.execute(_OBJECTS)) != expected:
        raise _refused("its tables are not those of a store")


def _read_texts(connection: sqlite3.Connection) -> None:
    for question in _TEXTS:
        for _ in connection.execute(question):
            pass
    try:
        for (owner,) in connection.execute("SELECT DISTINCT owner FROM workspaces").fetchall():
            for deleted in (False, True):
                for record in workspaces.listed(connection, owner, deleted=deleted):
                    _check_text(record.spec.git_url)
                    _check_text(record.spec.git_branch)
                    _check_text(record.spec.git_commit)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _refused("a workspace's record cannot be read") from error


def _check_text(value: object) -> None:
    """What an import takes over of a record can be anything that JSON has."""
    if value is not None and not isinstance(value, str):
        raise TypeError


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument(
        f"the file cannot be imported: {why}", hint="Have it exported again; nothing of it was taken over."
    )
