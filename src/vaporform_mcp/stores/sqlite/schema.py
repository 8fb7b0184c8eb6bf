"""The tables of the store's file, and how a file of an older schema is brought forward."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.sqlite.failures import FILE, other_tables

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "check_tables", "is_current", "prepare"]

APPLICATION_ID = 0x56706F72  # "Vpor"
OLDEST_SQLITE = (3, 37, 0)  # the first with STRICT tables

# `docs/storage-format.md` explains every table and column to people.
_V1 = (
    """
    CREATE TABLE workspaces (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        created_at REAL NOT NULL,
        last_used_at REAL NOT NULL,
        deleted_at REAL,
        version INTEGER NOT NULL,
        record TEXT NOT NULL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX workspaces_by_name ON workspaces (owner, name) WHERE deleted_at IS NULL",
    """
    CREATE TABLE heads (
        workspace INTEGER PRIMARY KEY,
        number INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        files INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE revisions (
        workspace INTEGER NOT NULL,
        number INTEGER NOT NULL,
        id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        time REAL NOT NULL,
        made_by TEXT NOT NULL,
        label TEXT,
        added INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        removed INTEGER NOT NULL,
        PRIMARY KEY (workspace, number),
        UNIQUE (workspace, id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX checkpoints ON revisions (workspace, number, label) WHERE label IS NOT NULL",
    """
    CREATE TABLE changes (
        workspace INTEGER NOT NULL,
        path TEXT NOT NULL,
        number INTEGER NOT NULL,
        kind TEXT CHECK (kind IN ('file', 'symlink')),
        mode INTEGER,
        size INTEGER,
        digest TEXT,
        mime_type TEXT,
        PRIMARY KEY (workspace, path, number)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX changes_by_number ON changes (workspace, number)",
    """
    CREATE TABLE latest (
        workspace INTEGER NOT NULL,
        path TEXT NOT NULL,
        number INTEGER NOT NULL,
        kind TEXT,
        mode INTEGER,
        size INTEGER,
        digest TEXT,
        mime_type TEXT,
        PRIMARY KEY (workspace, path)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE blobs (
        id INTEGER PRIMARY KEY,
        digest TEXT UNIQUE,
        size INTEGER NOT NULL,
        mime_type TEXT NOT NULL,
        put_at REAL NOT NULL,
        uses INTEGER NOT NULL DEFAULT 0,
        damaged INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    """
    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY,
        blob INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        content BLOB NOT NULL,
        UNIQUE (blob, seq)
    ) STRICT
    """,
)

# Only ever appended to: file N's statements take a file of schema N to N + 1.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_V1,)
SCHEMA_VERSION = len(MIGRATIONS)


_SIGNS = """
    SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id),
        (SELECT count(*) FROM sqlite_schema)
"""


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether the file has this version's schema; an empty or older file has not.

    Raises:
        StoreUnavailable: the file is another program's, or of a newer version.
    """
    # In one statement, since another process may make the tables between two.
    version, owner, tables = connection.execute(_SIGNS).fetchone()
    if owner != APPLICATION_ID and (owner or version or tables):
        raise StoreUnavailable(
            f"{FILE} is a database of another program",
            hint="Move that file away (`vaporform-mcp doctor` names its path); a new store is made at the next call.",
        )
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"{FILE} was written by a newer vaporform-mcp (schema {version}; this one knows {SCHEMA_VERSION})",
            hint="Upgrade vaporform-mcp, and restart the servers that still run the old one.",
        )
    return version == SCHEMA_VERSION


def check_tables(connection: sqlite3.Connection) -> None:
    """Of a file that is current: whether it really has the tables that it says.

    Raises:
        StoreUnavailable: it has not.
    """
    found = _tables(connection)
    # Others may be there: those that SQLite makes for itself, and a user's own.
    if any(found.get(name) != columns for name, columns in _expected().items()):
        raise other_tables()


@cache
def _expected() -> Mapping[str, Sequence[str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statements in MIGRATIONS:
            for statement in statements:
                connection.execute(statement)
        return _tables(connection)


def _tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Their columns, in order, by name."""
    tables: dict[str, list[str]] = {}
    for table, column in connection.execute(
        """
        SELECT tables.name, columns.name FROM pragma_table_list AS tables, pragma_table_info(tables.name) AS columns
        WHERE tables.schema = 'main' AND tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        ORDER BY tables.name, columns.cid
        """
    ):
        tables.setdefault(table, []).append(column)
    return tables


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring older ones forward; several processes may do so at once.

    Raises:
        StoreUnavailable: as `is_current`, or the file system or the SQLite library cannot keep a store.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreUnavailable(
            f"this Python's SQLite library is {sqlite3.sqlite_version}; the store needs 3.37 or newer",
            hint="Run vaporform-mcp with a Python that brings its own, such as one that `uv python install` makes.",
        )
    if not is_current(connection):
        # Only an empty file takes it; with it, what pruning frees can be given back to the disk.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # Also where the tables are there: a file that was sealed to be handed over has no log.
    mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnavailable(
            f"{FILE} is on a file system that cannot share it between processes, such as a network share",
            hint="Set VAPORFORM_DATA_DIR to a folder on a local disk.",
        )
    if is_current(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _migrate(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _migrate(connection: sqlite3.Connection) -> None:
    if is_current(connection):
        return
    for statements in MIGRATIONS[_number(connection, "PRAGMA user_version") :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _number(connection: sqlite3.Connection, question: str) -> int:
    return connection.execute(question).fetchone()[0]
