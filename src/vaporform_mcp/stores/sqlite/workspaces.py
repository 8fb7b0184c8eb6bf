"""Workspaces' records in the store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from vaporform_mcp.stores.records import deleted_for_good, from_row, name_is_taken, not_there, to_row, was_changed
from vaporform_mcp.types import WorkspaceRecord

__all__ = ["create", "find", "key_of", "listed", "remove", "update"]

_COLUMNS = "id, owner, name, created_at, last_used_at, deleted_at, version, record"


def create(connection: sqlite3.Connection, record: WorkspaceRecord) -> WorkspaceRecord:
    kept = _one(connection, "id = ?", (record.id,))
    if kept is not None:
        return kept
    try:
        cursor = connection.execute(
            f"INSERT INTO workspaces ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # a constant
            to_row(record),
        )
    except sqlite3.IntegrityError as error:
        raise name_is_taken(record) from error
    connection.execute(
        "INSERT INTO heads (workspace, number, epoch, files, size_bytes) VALUES (?, 0, 0, 0, 0)", (cursor.lastrowid,)
    )
    return record


def find(connection: sqlite3.Connection, owner: str, name: str) -> WorkspaceRecord | None:
    return _one(connection, "owner = ? AND name = ? AND deleted_at IS NULL", (owner, name))


def listed(connection: sqlite3.Connection, owner: str, *, deleted: bool) -> Sequence[WorkspaceRecord]:
    state = "NOT NULL" if deleted else "NULL"
    sql = (
        f"SELECT {_COLUMNS} FROM workspaces WHERE owner = ? AND deleted_at IS {state} ORDER BY last_used_at DESC, name"  # noqa: S608  # constants
    )
    return [from_row(row) for row in connection.execute(sql, (owner,))]


def update(connection: sqlite3.Connection, record: WorkspaceRecord) -> WorkspaceRecord:
    raised = replace(record, version=record.version + 1)
    try:
        cursor = connection.execute(
            "UPDATE workspaces SET owner = ?, name = ?, created_at = ?, last_used_at = ?, deleted_at = ?, version = ?, "
            "record = ? WHERE id = ? AND version = ?",
            (*to_row(raised)[1:], record.id, record.version),
        )
    except sqlite3.IntegrityError as error:
        raise name_is_taken(record) from error
    if cursor.rowcount:
        return raised
    if _one(connection, "id = ?", (record.id,)) is None:
        raise deleted_for_good(record)
    raise was_changed(record)


def remove(connection: sqlite3.Connection, workspace_id: str, version: int | None) -> int | None:
    """Forget the record; answers with the key under which its revisions and changes are still to be removed."""
    kept = _one(connection, "id = ?", (workspace_id,))
    if kept is None:
        return None
    if version is not None and kept.version != version:
        raise was_changed(kept)
    row = connection.execute("DELETE FROM workspaces WHERE id = ? RETURNING key", (workspace_id,)).fetchone()
    connection.execute("DELETE FROM heads WHERE workspace = ?", row)
    return row[0]


def key_of(connection: sqlite3.Connection, workspace_id: str) -> int:
    """The number that stands for the workspace in the other tables; never given to another one."""
    row = connection.execute("SELECT key FROM workspaces WHERE id = ?", (workspace_id,)).fetchone()
    if row is None:
        raise not_there()
    return row[0]


def _one(connection: sqlite3.Connection, condition: str, values: tuple[str, ...]) -> WorkspaceRecord | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM workspaces WHERE {condition}", values).fetchone()  # noqa: S608  # constants
    return None if row is None else from_row(row)
