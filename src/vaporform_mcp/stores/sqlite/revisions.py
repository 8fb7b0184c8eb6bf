"""Revisions in the store's file: committing one, and telling of those that are there."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.stores.base import Adopted
from vaporform_mcp.stores.sqlite.trees import latest_of, row_of, under
from vaporform_mcp.stores.sqlite.workspaces import key_of
from vaporform_mcp.types import Entry, Head, Revision, TreeCount, WorkspacePath

__all__ = ["Draft", "adopt", "append", "count", "head", "labelled", "log"]

_COLUMNS = "number, id, epoch, time, made_by, label, added, changed, removed"
_Tree = Mapping[WorkspacePath, Entry | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A revision that is to be."""

    parent: int
    id: str
    epoch: int
    time: float
    changes: _Tree
    made_by: str
    label: str | None


def append(connection: sqlite3.Connection, workspace_id: str, draft: Draft) -> Revision:
    key = key_of(connection, workspace_id)
    done = _one(connection, "workspace = ? AND id = ?", (key, draft.id))
    if done is not None:
        return done
    _check_parent(draft, _head(connection, key))
    before = latest_of(connection, key, draft.changes)
    effective = _effective(before, draft.changes)
    revision = Revision(
        number=draft.parent + 1,
        id=draft.id,
        epoch=draft.epoch,
        time=draft.time,
        made_by=draft.made_by,
        label=draft.label,
        added=sum(1 for path, entry in effective.items() if entry is not None and path not in before),
        changed=sum(1 for path, entry in effective.items() if entry is not None and path in before),
        removed=sum(1 for entry in effective.values() if entry is None),
    )
    _commit(connection, key, revision, before, effective)
    return revision


def adopt(connection: sqlite3.Connection, workspace_id: str, adopted: Sequence[Adopted]) -> None:
    key = key_of(connection, workspace_id)
    for each in adopted:
        _adopt(connection, key, each.revision, {change.path: change.entry for change in each.changes})


def _adopt(connection: sqlite3.Connection, key: int, revision: Revision, changes: _Tree) -> None:
    done = _one(connection, "workspace = ? AND id = ?", (key, revision.id))
    head = _head(connection, key)
    if done is not None and done.number == revision.number:
        return
    if done is not None or head.number >= revision.number or head.epoch > revision.epoch:
        raise Conflict(
            f"the workspace has a history of its own, up to revision {head.number}",
            hint="Delete the workspace there, or give the one that comes another name.",
        )
    before = latest_of(connection, key, changes)
    _commit(connection, key, revision, before, _effective(before, changes))


def _effective(before: Mapping[WorkspacePath, Entry], changes: _Tree) -> _Tree:
    return {path: entry for path, entry in changes.items() if before.get(path) != entry}


def _commit(
    connection: sqlite3.Connection,
    key: int,
    revision: Revision,
    before: Mapping[WorkspacePath, Entry],
    effective: _Tree,
) -> None:
    _use_blobs(connection, effective)
    _insert(connection, key, revision, effective)
    grown = sum(entry.size for entry in effective.values() if entry is not None)
    shrunk = sum(before[path].size for path in effective if path in before)
    files = sum((entry is not None) - (path in before) for path, entry in effective.items())
    connection.execute(
        "UPDATE heads SET number = ?, epoch = ?, files = files + ?, size_bytes = size_bytes + ? WHERE workspace = ?",
        (revision.number, revision.epoch, files, grown - shrunk, key),
    )


def head(connection: sqlite3.Connection, workspace_id: str) -> Head:
    return _head(connection, key_of(connection, workspace_id))


def count(connection: sqlite3.Connection, workspace_id: str) -> TreeCount:
    key = key_of(connection, workspace_id)
    row = connection.execute("SELECT files, size_bytes FROM heads WHERE workspace = ?", (key,)).fetchone()
    return TreeCount(files=row[0], size_bytes=row[1])


def log(
    connection: sqlite3.Connection, workspace_id: str, *, path: WorkspacePath | None, before: int | None, limit: int
) -> Sequence[Revision]:
    conditions = ["workspace = :key"]
    named: dict[str, str | int] = {"key": key_of(connection, workspace_id), "limit": max(limit, 0)}
    if before is not None:
        conditions.append("number < :before")
        named["before"] = before
    if path:
        named["path"] = path
        named["first"], named["past"] = under(path)
        conditions.append(
            "number IN (SELECT number FROM changes WHERE workspace = :key AND path = :path UNION ALL "
            "SELECT number FROM changes WHERE workspace = :key AND path >= :first AND path < :past)"
        )
    sql = f"SELECT {_COLUMNS} FROM revisions WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT :limit"  # noqa: S608  # constants
    return [_revision(row) for row in connection.execute(sql, named)]


def labelled(connection: sqlite3.Connection, workspace_id: str, label: str) -> Revision | None:
    values = (key_of(connection, workspace_id), label)
    found = connection.execute(
        "SELECT max(number) FROM revisions INDEXED BY checkpoints WHERE workspace = ? AND label = ?", values
    )
    return _one(connection, "workspace = ? AND number = ?", (values[0], found.fetchone()[0]))


def _check_parent(draft: Draft, head: Head) -> None:
    if draft.parent != head.number:
        raise Conflict(
            f"the workspace is at revision {head.number}, not {draft.parent}",
            hint="Look at what changed since, and repeat on top of that.",
        )
    if draft.epoch < head.epoch:
        raise Conflict(
            f"the workspace has moved to another sandbox (epoch {head.epoch}; this one is {draft.epoch})",
            hint="Open the workspace again: this sandbox is no longer its own.",
        )


def _head(connection: sqlite3.Connection, key: int) -> Head:
    row = connection.execute("SELECT number, epoch FROM heads WHERE workspace = ?", (key,)).fetchone()
    return Head(number=row[0], epoch=row[1])


def _use_blobs(connection: sqlite3.Connection, changes: _Tree) -> None:
    named = [(entry.digest,) for entry in changes.values() if entry is not None]
    cursor = connection.executemany("UPDATE blobs SET uses = uses + 1 WHERE digest = ? AND NOT damaged", named)
    if named and cursor.rowcount != len(named):
        path = next(path for path, entry in changes.items() if entry is not None and _is_missing(connection, entry))
        raise NotFound(f"the content of {path} is not in the store", hint="Put the file's content again, then repeat.")


def _is_missing(connection: sqlite3.Connection, entry: Entry) -> bool:
    found = connection.execute("SELECT 1 FROM blobs WHERE digest = ? AND NOT damaged", (entry.digest,))
    return found.fetchone() is None


def _insert(connection: sqlite3.Connection, key: int, revision: Revision, changes: _Tree) -> None:
    made = revision
    connection.execute(
        f"INSERT INTO revisions (workspace, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # constants
        (
            key,
            made.number,
            made.id,
            made.epoch,
            made.time,
            made.made_by,
            made.label,
            made.added,
            made.changed,
            made.removed,
        ),
    )
    # In the order of the paths, so that neighbours go into the same page while it is at hand.
    rows = [(key, path, made.number, *row_of(changes[path])) for path in sorted(changes)]
    connection.executemany("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.executemany("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _one(connection: sqlite3.Connection, condition: str, values: tuple[str | int, ...]) -> Revision | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM revisions WHERE {condition}", values).fetchone()  # noqa: S608  # constants
    return None if row is None else _revision(row)


def _revision(row: tuple[int, str, int, float, str, str | None, int, int, int]) -> Revision:
    number, id_, epoch, time, made_by, label, added, changed, removed = row
    return Revision(
        number=number,
        id=id_,
        epoch=epoch,
        time=time,
        made_by=made_by,
        label=label,
        added=added,
        changed=changed,
        removed=removed,
    )
