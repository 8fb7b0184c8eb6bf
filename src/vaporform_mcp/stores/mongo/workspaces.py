"""Workspaces' records in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bson import ObjectId

from vaporform_mcp.stores.mongo.tables import Doc, Table
from vaporform_mcp.stores.records import deleted_for_good, from_row, name_is_taken, not_there, to_row, was_changed
from vaporform_mcp.types import WorkspaceRecord

__all__ = ["create", "find", "listed", "remove", "state_of", "update"]

_ROW = ("_id", "owner", "name", "created_at", "last_used_at", "deleted_at", "version", "record")


async def create(workspaces: Table, record: WorkspaceRecord) -> WorkspaceRecord:
    # The key stands for it in the other collections; one made anew with the same id has another, and begins empty.
    fresh = {"key": ObjectId(), "pruned_to": 0, "folded_to": 0}
    if await workspaces.insert({**_document(record), **fresh}):
        return record
    kept = await workspaces.one({"_id": record.id})
    if kept is None:
        raise name_is_taken(record)
    return _record(kept)


async def find(workspaces: Table, owner: str, name: str) -> WorkspaceRecord | None:
    kept = await workspaces.one({"owner": owner, "name": name, "trash": ""})
    return None if kept is None else _record(kept)


async def listed(workspaces: Table, owner: str, *, deleted: bool) -> Sequence[WorkspaceRecord]:
    found = await workspaces.find({"owner": owner, "deleted_at": {"$ne": None} if deleted else None})
    return sorted(map(_record, found), key=lambda record: (-record.last_used_at, record.name))


async def update(workspaces: Table, record: WorkspaceRecord) -> WorkspaceRecord:
    raised = replace(record, version=record.version + 1)
    document = _document(raised)
    changed = await workspaces.update_unless_taken({"_id": record.id, "version": record.version}, {"$set": document})
    if changed is None:
        raise name_is_taken(record)
    if changed:
        return raised
    if await workspaces.one({"_id": record.id}) is None:
        raise deleted_for_good(record)
    raise was_changed(record)


async def remove(workspaces: Table, workspace_id: str, version: int | None) -> ObjectId | None:
    """Forget the record; answers with the key under which its revisions are still to be removed."""
    kept = await workspaces.one({"_id": workspace_id})
    if kept is None:
        return None
    condition: Doc = {"_id": workspace_id, "key": kept["key"]}
    if version is not None:
        condition["version"] = version
    if not await workspaces.delete(condition) and await workspaces.one({"_id": workspace_id, "key": kept["key"]}):
        raise was_changed(_record(kept))
    return kept["key"]


async def state_of(workspaces: Table, workspace_id: str) -> Doc:
    """Its key, and the numbers up to which revisions were pruned and a fold is kept. Raises `NotFound`."""
    kept = await workspaces.one({"_id": workspace_id}, fields={"key": 1, "pruned_to": 1, "folded_to": 1})
    if kept is None:
        raise not_there()
    return kept


def _document(record: WorkspaceRecord) -> Doc:
    row = dict(zip(_ROW, to_row(record), strict=True))
    # With it, a name is the owner's own among those that do not lie in the trash.
    return {**row, "trash": "" if record.deleted_at is None else record.id}


def _record(document: Doc) -> WorkspaceRecord:
    id_, owner, name, created_at, last_used_at, deleted_at, version, text = (document[field] for field in _ROW)
    return from_row((id_, owner, name, created_at, last_used_at, deleted_at, version, text))
