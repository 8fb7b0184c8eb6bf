"""Workspaces' records in the store's file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import fields, replace

from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.types import Spec, WorkspaceName, WorkspaceRecord

__all__ = ["create", "find", "key_of", "listed", "remove", "update"]

_COLUMNS = "id, owner, name, created_at, last_used_at, deleted_at, version, record"
_Row = tuple[str, str, str, float, float, float | None, int, str]


def create(connection: sqlite3.Connection, record: WorkspaceRecord) -> WorkspaceRecord:
    kept = _one(connection, "id = ?", (record.id,))
    if kept is not None:
        return kept
    try:
        cursor = connection.execute(
            f"INSERT INTO workspaces ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # a constant
            _to_row(record),
        )
    except sqlite3.IntegrityError as error:
        raise _name_is_taken(record) from error
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
    return [_from_row(row) for row in connection.execute(sql, (owner,))]


def update(connection: sqlite3.Connection, record: WorkspaceRecord) -> WorkspaceRecord:
    raised = replace(record, version=record.version + 1)
    try:
        cursor = connection.execute(
            "UPDATE workspaces SET owner = ?, name = ?, created_at = ?, last_used_at = ?, deleted_at = ?, version = ?, "
            "record = ? WHERE id = ? AND version = ?",
            (*_to_row(raised)[1:], record.id, record.version),
        )
    except sqlite3.IntegrityError as error:
        raise _name_is_taken(record) from error
    if cursor.rowcount:
        return raised
    if _one(connection, "id = ?", (record.id,)) is None:
        raise NotFound(f"the workspace {record.name!r} was deleted for good", hint="Make it anew with open_workspace.")
    raise _was_changed(record)


def remove(connection: sqlite3.Connection, workspace_id: str, version: int | None) -> int | None:
    """Forget the record; answers with the key under which its revisions and changes are still to be removed."""
    kept = _one(connection, "id = ?", (workspace_id,))
    if kept is None:
        return None
    if version is not None and kept.version != version:
        raise _was_changed(kept)
    row = connection.execute("DELETE FROM workspaces WHERE id = ? RETURNING key", (workspace_id,)).fetchone()
    connection.execute("DELETE FROM heads WHERE workspace = ?", row)
    return row[0]


def key_of(connection: sqlite3.Connection, workspace_id: str) -> int:
    """The number that stands for the workspace in the other tables; never given to another one."""
    row = connection.execute("SELECT key FROM workspaces WHERE id = ?", (workspace_id,)).fetchone()
    if row is None:
        raise NotFound(
            "the store no longer has this workspace: it was deleted for good, or the store was removed or replaced",
            hint="What is in its sandbox stays there: take it out, or put the store back, before you open a new one.",
        )
    return row[0]


def _one(connection: sqlite3.Connection, condition: str, values: tuple[str, ...]) -> WorkspaceRecord | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM workspaces WHERE {condition}", values).fetchone()  # noqa: S608  # constants
    return None if row is None else _from_row(row)


def _name_is_taken(record: WorkspaceRecord) -> Conflict:
    return Conflict(f"there is another workspace named {record.name!r}", hint="Choose another name, or open that one.")


def _was_changed(record: WorkspaceRecord) -> Conflict:
    return Conflict(f"the workspace {record.name!r} was changed by somebody else", hint="Read it again and repeat.")


def _to_row(record: WorkspaceRecord) -> _Row:
    rest = {
        "spec": {**{each.name: getattr(record.spec, each.name) for each in fields(Spec)}, "env": dict(record.spec.env)},
        "sandbox_id": record.sandbox_id,
        "imported": record.imported,
        "previews": {str(inner): outer for inner, outer in record.previews.items()},
        "commands": list(record.commands),
        "dev_command": record.dev_command,
        "isolation": record.isolation,
    }
    return (
        record.id,
        record.owner,
        record.name,
        record.created_at,
        record.last_used_at,
        record.deleted_at,
        record.version,
        json.dumps(rest, ensure_ascii=False, separators=(",", ":")),
    )


def _from_row(row: _Row) -> WorkspaceRecord:
    id_, owner, name, created_at, last_used_at, deleted_at, version, text = row
    rest = json.loads(text)
    return WorkspaceRecord(
        id=id_,
        owner=owner,
        name=WorkspaceName(name),
        spec=Spec(**rest["spec"]),
        created_at=created_at,
        last_used_at=last_used_at,
        sandbox_id=rest["sandbox_id"],
        imported=rest["imported"],
        previews={int(inner): outer for inner, outer in rest["previews"].items()},
        commands=tuple(rest["commands"]),
        dev_command=rest["dev_command"],
        isolation=rest.get("isolation"),  # records of the first versions have none
        deleted_at=deleted_at,
        version=version,
    )
