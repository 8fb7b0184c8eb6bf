"""Trees in the store's file: what is at a revision, what a path was, and what changed in between."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

from vaporform_mcp.errors import NotFound
from vaporform_mcp.stores.sqlite.workspaces import key_of
from vaporform_mcp.types import Change, Digest, Entry, EntryKind, WorkspacePath

__all__ = ["Row", "changes", "entries", "last_entry", "latest_of", "row_of", "tree", "under"]

Row = tuple[str | None, int | None, int | None, str | None, str | None]
"""An entry's kind, mode, size, digest and MIME type; all None where a path is removed."""

_ENTRY = "kind, mode, size, digest, mime_type"
_KINDS = {kind.value: kind for kind in EntryKind}
_ASKED_AT_ONCE = 500
_NEWEST = 2**63 - 1


def tree(connection: sqlite3.Connection, workspace_id: str, at: int | None) -> Mapping[WorkspacePath, Entry]:
    key = key_of(connection, workspace_id)
    if at == 0:
        return {}
    if at is None:
        sql = f"SELECT path, {_ENTRY} FROM latest WHERE workspace = :key AND kind IS NOT NULL"  # noqa: S608  # constants
        return _entries(connection.execute(sql, {"key": key}))
    _check_kept(connection, key, at)
    # Each path that ever was costs one step here, and one more if it changed since: not one for each revision.
    sql = f"""
        SELECT path, {_ENTRY} FROM latest WHERE workspace = :key AND number <= :at AND kind IS NOT NULL
        UNION ALL
        SELECT old.path, old.kind, old.mode, old.size, old.digest, old.mime_type
        FROM latest CROSS JOIN changes AS old ON old.workspace = :key AND old.path = latest.path AND old.number = (
            SELECT max(number) FROM changes WHERE workspace = :key AND path = latest.path AND number <= :at
        )
        WHERE latest.workspace = :key AND latest.number > :at AND old.kind IS NOT NULL
    """  # noqa: S608  # constants
    return _entries(connection.execute(sql, {"key": key, "at": at}))


def entries(
    connection: sqlite3.Connection, workspace_id: str, paths: Collection[WorkspacePath], at: int | None
) -> Mapping[WorkspacePath, Entry]:
    key = key_of(connection, workspace_id)
    if at == 0:
        return {}
    if at is None:
        return latest_of(connection, key, paths)
    _check_kept(connection, key, at)
    sql = f"""
        SELECT {_ENTRY} FROM changes
        WHERE workspace = ? AND path = ? AND number <= ? ORDER BY number DESC LIMIT 1
    """  # noqa: S608  # constants
    rows = ((path, connection.execute(sql, (key, path, at)).fetchone()) for path in paths)
    return {path: _entry(*row) for path, row in rows if row is not None and row[0] is not None}


def latest_of(connection: sqlite3.Connection, key: int, paths: Collection[WorkspacePath]) -> dict[WorkspacePath, Entry]:
    """The entries that those of `paths` that are there have at the head."""
    wanted = list(paths)
    found: dict[WorkspacePath, Entry] = {}
    for start in range(0, len(wanted), _ASKED_AT_ONCE):
        some = wanted[start : start + _ASKED_AT_ONCE]
        marks = ",".join("?" * len(some))
        sql = f"SELECT path, {_ENTRY} FROM latest WHERE workspace = ? AND path IN ({marks}) AND kind IS NOT NULL"  # noqa: S608  # marks only
        found |= _entries(connection.execute(sql, (key, *some)))
    return found


def last_entry(connection: sqlite3.Connection, workspace_id: str, path: WorkspacePath) -> tuple[int, Entry] | None:
    sql = f"""
        SELECT number, {_ENTRY} FROM changes
        WHERE workspace = ? AND path = ? AND kind IS NOT NULL ORDER BY number DESC LIMIT 1
    """  # noqa: S608  # constants
    row = connection.execute(sql, (key_of(connection, workspace_id), path)).fetchone()
    return None if row is None else (row[0], _entry(*row[1:]))


def changes(connection: sqlite3.Connection, workspace_id: str, *, after: int, upto: int | None) -> Sequence[Change]:
    key = key_of(connection, workspace_id)
    for number in {after, after if upto is None else upto} - {0}:
        _check_kept(connection, key, number)
    # SQLite takes the bare columns from the row that holds the maximum. Left alone it would walk the whole history.
    sql = f"""
        SELECT path, {_ENTRY}, max(number) FROM changes INDEXED BY changes_by_number
        WHERE workspace = :key AND number > :after AND number <= :upto GROUP BY path
    """  # noqa: S608  # constants
    named = {"key": key, "after": after, "upto": _NEWEST if upto is None else upto}
    return [
        Change(path=path, entry=None if row[0] is None else _entry(*row))
        for path, *row, _ in connection.execute(sql, named)
    ]


def under(path: WorkspacePath) -> tuple[str, str]:
    """The first name that can lie under `path`, and the first past those, as SQLite orders text (by its bytes)."""
    return path + "/", path + chr(ord("/") + 1)


def row_of(entry: Entry | None) -> Row:
    if entry is None:
        return (None, None, None, None, None)
    return (entry.kind.value, entry.mode, entry.size, entry.digest, entry.mime_type)


def _check_kept(connection: sqlite3.Connection, key: int, number: int) -> None:
    if (
        connection.execute("SELECT 1 FROM revisions WHERE workspace = ? AND number = ?", (key, number)).fetchone()
        is None
    ):
        raise NotFound(f"there is no revision {number}", hint="It never was, or was pruned; look at the newest.")


def _entries(rows: Iterable[tuple[str, str, int, int, str, str]]) -> dict[WorkspacePath, Entry]:
    return {WorkspacePath(row[0]): _entry(*row[1:]) for row in rows}


def _entry(kind: str, mode: int, size: int, digest: str, mime_type: str) -> Entry:
    return Entry(kind=_KINDS[kind], mode=mode, size=size, digest=Digest(digest), mime_type=mime_type)
