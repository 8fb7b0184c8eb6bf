"""Committing revisions: pending first, confirmed once every blob that they name is known to stay.

A revision is inserted under unique (workspace, parent), which makes it compare-and-set. While it is pending nobody sees
it, but whoever prunes counts what it names; then its blobs are looked at, and only then it is confirmed. However long
this process sleeps in between, a blob that was pruned meanwhile is noticed before anybody is told of the revision.
Whoever finds somebody's pending revision in the way confirms it, where its blobs are there, or takes it away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bson import ObjectId

from vaporform_mcp.errors import Conflict, NotFound, StoreUnavailable
from vaporform_mcp.stores.mongo import blobs, history
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.entries import Step, Tree, change_document, fit_inline, parts_of, revision_of
from vaporform_mcp.stores.mongo.tables import Doc, together
from vaporform_mcp.stores.mongo.trees import Known, Trees
from vaporform_mcp.stores.records import not_there
from vaporform_mcp.types import Digest, Entry, Revision, WorkspacePath

__all__ = ["Draft", "commit", "effective", "has_parts", "keep_changes"]

_TRIES = 10
_PARTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A revision that is to be. Its number is its parent's and one, and its counts are told, unless it is adopted.

    `now` is when it is committed, in seconds since the Unix epoch.
    """

    parent: int
    id: str
    epoch: int
    now: float
    changes: Tree
    made_by: str
    label: str | None
    adopted: Revision | None = None


def effective(before: dict[WorkspacePath, Entry], changes: Tree) -> Tree:
    return {path: entry for path, entry in changes.items() if before.get(path) != entry}


async def commit(
    tables: Tables, trees: Trees, workspace_id: str, draft: Callable[[Known], Draft], revision_id: str
) -> Revision:
    """Commit what `draft` makes of the head, or answer with the revision that has that id already.

    `draft` raises `Conflict` where it cannot follow the head.
    """
    # What was the head when this process looked last usually still is, and the index tells if not.
    known = trees.remembered(workspace_id)
    for _ in range(_TRIES):
        try:
            made = draft(known) if known is not None else None
        except Conflict:
            made = None
        if known is None or made is None:
            known = await trees.current(tables, workspace_id)
            if done := await _done(tables, known.key, revision_id):
                return done
            made = draft(known)
        if revision := await _try(tables, trees, workspace_id, known, made):
            return revision
        known = None
    raise StoreUnavailable("other servers kept committing to this workspace", hint="Repeat the call.")


async def _try(tables: Tables, trees: Trees, workspace_id: str, known: Known, draft: Draft) -> Revision | None:
    """None: somebody was faster, and what was in the way is settled."""
    document, steps = _document(known, draft)
    named = {step.path: step.entry.digest for step in steps if step.entry is not None}
    told = [change_document(step.path, step.entry) for step in steps]
    parts = await keep_changes(tables, document, told, draft.now)
    if not await tables.revisions.insert(document):
        await _drop_parts(tables, parts)
        return await _settle(tables, known.key, document)
    missing: frozenset[Digest] = frozenset()
    state: Doc | None = None
    is_whole = True

    async def look() -> None:
        nonlocal missing, is_whole
        missing = await blobs.check_kept(tables.files, frozenset(named.values())) if named else frozenset()
        is_whole = await has_parts(tables, document)

    async def ask() -> None:
        nonlocal state
        state = await tables.workspaces.one({"_id": workspace_id, "key": known.key}, fields={"pruned_to": 1})

    await together(look, ask)
    if state is None or state["pruned_to"] > document["parent"] or missing or not is_whole:
        await tables.revisions.delete({"_id": document["_id"], "pending": True})
        await _drop_parts(tables, parts)
        if state is None:
            trees.forget(workspace_id)
            raise not_there()
        if missing:
            path = next(path for path, digest in named.items() if digest in missing)
            raise NotFound(
                f"the content of {path} is not in the store", hint="Put the file's content again, then repeat."
            )
        # What followed the parent was pruned, so the head is elsewhere; or its parts were taken for left-overs.
        return None
    if not await _confirm(tables, document["_id"]):
        return None
    revision = revision_of(document)
    if known.number == draft.parent:
        known.follow(document, steps)
        await trees.fold(tables, workspace_id, known)
    return revision


def _document(known: Known, draft: Draft) -> tuple[Doc, list[Step]]:
    before = known.tree
    changes = effective(before, draft.changes)
    number = draft.parent + 1 if draft.adopted is None else draft.adopted.number
    steps = [Step(path=path, entry=entry, number=number) for path, entry in changes.items()]
    revision = draft.adopted or Revision(
        number=number,
        id=draft.id,
        epoch=draft.epoch,
        time=draft.now,
        made_by=draft.made_by,
        label=draft.label,
        added=sum(1 for path, entry in changes.items() if entry is not None and path not in before),
        changed=sum(1 for path, entry in changes.items() if entry is not None and path in before),
        removed=sum(1 for entry in changes.values() if entry is None),
    )
    gone = [before[path] for path in changes if path in before]
    come = [entry for entry in changes.values() if entry is not None]
    document: Doc = {
        "_id": ObjectId(),
        "workspace": known.key,
        "number": number,
        "parent": draft.parent,
        "follows": known.document,
        "id": draft.id,
        "epoch": draft.epoch,
        "time": revision.time,
        "made_by": revision.made_by,
        "label": revision.label,
        "added": revision.added,
        "changed": revision.changed,
        "removed": revision.removed,
        "files": known.files + len(come) - len(gone),
        "size_bytes": known.size_bytes + sum(each.size for each in come) - sum(each.size for each in gone),
        "pending": True,
    }
    return document, steps


async def keep_changes(tables: Tables, document: Doc, changes: Sequence[Doc], now: float) -> ObjectId | None:
    """Put the changes into the revision's document; those that are too many for it go into parts, whose name is told.

    Parts are kept before the document that names them, so that whoever sees that has them.
    """
    if fit_inline(changes):
        document["changes"] = list(changes)
        return None
    parts = list(parts_of(changes))
    name = ObjectId()
    document["parts"], document["part_count"] = name, len(parts)
    pieces: list[Doc] = [
        {
            "revision": name,
            "part": number,
            "workspace": document["workspace"],
            "number": document["number"],
            "kept_at": now,
            "changes": list(part),
        }
        for number, part in enumerate(parts)
    ]
    for start in range(0, len(pieces), _PARTS_AT_ONCE):
        some = pieces[start : start + _PARTS_AT_ONCE]
        await tables.changes.insert_all(some, size_bytes=len(some) * 1024 * 1024)
    return name


async def _drop_parts(tables: Tables, name: ObjectId | None) -> None:
    if name is not None:
        await tables.changes.delete({"revision": name})


async def _done(tables: Tables, key: ObjectId, revision_id: str) -> Revision | None:
    found = await tables.revisions.one({"workspace": key, "id": revision_id, "pending": None}, fields={"changes": 0})
    return None if found is None else revision_of(found)


async def _settle(tables: Tables, key: ObjectId, refused: Doc) -> Revision | None:
    """Confirm the pending revisions that are in the way, or take them away; None, or the one that was to be made."""
    ways: list[Doc] = [{name: refused[name]} for name in ("id", "parent", "number")]
    for document in await tables.revisions.find({"workspace": key, "$or": ways}):
        if "pending" not in document:
            if document["id"] == refused["id"]:
                return revision_of(document)
            continue
        if await _is_sound(tables, key, document):
            await _confirm(tables, document["_id"])
        elif await tables.revisions.delete({"_id": document["_id"], "pending": True}):
            await _drop_parts(tables, document.get("parts"))
    return None


async def _is_sound(tables: Tables, key: ObjectId, pending: Doc) -> bool:
    """Whether it follows the revision that its writer saw, which is the head, and everything that it names is kept."""
    state = await tables.workspaces.one({"key": key}, fields={"pruned_to": 1})
    if state is None or state["pruned_to"] > pending["parent"]:
        return False  # what followed its parent was pruned
    if pending["follows"] is not None:
        condition = {"_id": pending["follows"], "workspace": key, "number": pending["parent"], "pending": None}
        if await tables.revisions.one(condition, fields={"_id": 1}) is None:
            return False
    if not await has_parts(tables, pending):
        return False
    steps = (await history.steps_of(tables, [pending]))[pending["number"]]
    named = frozenset(step.entry.digest for step in steps if step.entry is not None)
    return not await blobs.check_kept(tables.files, named)


async def has_parts(tables: Tables, document: Doc) -> bool:
    """Whether its parts are there and no prune is about to drop them: one that is, marks them and then looks for us."""
    if "parts" not in document:
        return True
    return await tables.changes.count({"revision": document["parts"], "dropping": None}) == document["part_count"]


async def _confirm(tables: Tables, document: ObjectId) -> bool:
    """Whether it is committed, by this call or another."""
    if await tables.revisions.update({"_id": document, "pending": True}, {"$unset": {"pending": ""}}):
        return True
    return await tables.revisions.one({"_id": document}, fields={"_id": 1}) is not None
