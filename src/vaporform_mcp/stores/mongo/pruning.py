"""Dropping old revisions: what a kept one needs of those before it is written into it first, then they go.

The steps are in an order that leaves every kept revision readable wherever they stop, and each may be repeated: what
the next kept revision takes over, the number up to which revisions count as pruned, the documents themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bson import ObjectId

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.mongo import history
from vaporform_mcp.stores.mongo.committing import has_parts, keep_changes
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.entries import Step, change_document
from vaporform_mcp.stores.mongo.tables import Doc
from vaporform_mcp.stores.mongo.workspaces import state_of
from vaporform_mcp.types import Digest, WorkspacePath

__all__ = ["Thinned", "drop", "forecast"]

_REVISIONS_AT_ONCE = 200


@dataclass(slots=True, kw_only=True)
class Thinned:
    """What pruning drops of a workspace, and the digests that the rest of its history names."""

    dropped: int = 0
    named: set[Digest] = field(default_factory=set[Digest])


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A kept revision, and what it bears when those before it are gone. `is_changed`: not what it bears now."""

    document: Doc
    steps: list[Step]
    is_changed: bool


async def forecast(tables: Tables, workspace_id: str, keep_after: int) -> Thinned:
    """What `drop` would do."""
    state = await state_of(tables.workspaces, workspace_id)
    thinned = Thinned()
    async for each in _walk(tables, state, await _bound(tables, state, keep_after), thinned):
        thinned.named |= {step.entry.digest for step in each.steps if step.entry is not None}
    return thinned


async def drop(tables: Tables, workspace_id: str, keep_after: int, now: float) -> int:
    """Drop the revisions up to `keep_after` that bear no label, but never the head; answers how many."""
    state = await state_of(tables.workspaces, workspace_id)
    key = state["key"]
    bound = await _bound(tables, state, keep_after)
    thinned = Thinned()
    replaced: list[ObjectId] = []
    async for each in _walk(tables, state, bound, thinned, stop_after=bound):
        if each.is_changed:
            if "parts" in each.document:
                replaced.append(each.document["parts"])
            await _take_over(tables, each, now)
    old: Doc = {"workspace": key, "number": {"$lte": bound}}
    await tables.revisions.update_many({**old, "label": {"$ne": None}, "pending": None}, {"$set": {"kept": True}})
    await tables.workspaces.update({"_id": workspace_id, "key": key}, {"$max": {"pruned_to": bound}})
    gone: Doc = {**old, "kept": None}
    with_parts = await tables.revisions.find({**gone, "parts": {"$exists": True}}, fields={"parts": 1})
    await tables.revisions.delete(gone)
    for name in (*replaced, *(document["parts"] for document in with_parts)):
        await tables.changes.delete({"revision": name})
    await tables.folds.delete({"workspace": key, "number": {"$lte": bound}})  # none is read any more
    return thinned.dropped


async def _bound(tables: Tables, state: Doc, keep_after: int) -> int:
    head = await history.newest(tables, state)
    return min(keep_after, 0 if head is None else head["number"] - 1)


async def _walk(
    tables: Tables, state: Doc, bound: int, thinned: Thinned, *, stop_after: int | None = None
) -> AsyncIterator[_Kept]:
    """The revisions that stay, oldest first, each with what it takes over; up to the first after `stop_after`."""
    pending: dict[WorkspacePath, Step] = {}
    is_first = True
    after = 0
    while documents := await _some(tables, state, after):
        steps = await history.steps_of(tables, documents)
        for document in documents:
            number = after = document["number"]
            if number <= bound and document["label"] is None:
                thinned.dropped += 1
                pending |= {step.path: step for step in steps[number]}
                continue
            own = steps[number]
            named = {step.path for step in own}
            # A removal tells something only where an older revision that is kept may have the path.
            over = [s for path, s in pending.items() if path not in named and not (is_first and s.entry is None)]
            yield _Kept(document=document, steps=[*over, *own], is_changed=bool(over))
            pending, is_first = {}, False
            if stop_after is not None and number > stop_after:
                return


async def _some(tables: Tables, state: Doc, after: int) -> list[Doc]:
    """The next revisions, with their changes: not so many that they could not be held."""
    condition: Doc = {"workspace": state["key"], "number": {"$gt": after}, "pending": None, **history.kept(state)}
    return await tables.revisions.find(condition, sort=("number", 1), limit=_REVISIONS_AT_ONCE)


async def _take_over(tables: Tables, kept: _Kept, now: float) -> None:
    number = kept.document["number"]
    told = [
        change_document(step.path, step.entry, None if step.number == number else step.number) for step in kept.steps
    ]
    fresh: Doc = {"workspace": kept.document["workspace"], "number": number}
    name = await keep_changes(tables, fresh, told, now)
    this: Doc = {"_id": kept.document["_id"]}
    if name is None:
        inline = {"$set": {"changes": fresh["changes"]}, "$unset": {"parts": "", "part_count": "", "next_parts": ""}}
        await tables.revisions.update(this, inline)
        return
    # Named first and looked at then: however long this one sleeps, nobody takes for left-overs what it puts in place.
    await tables.revisions.update(this, {"$set": {"next_parts": name}})
    switch = {
        "$set": {field: fresh[field] for field in ("parts", "part_count")},
        "$unset": {"changes": "", "next_parts": ""},
    }
    if await has_parts(tables, fresh) and await tables.revisions.update({**this, "next_parts": name}, switch):
        return
    if await tables.revisions.one(this, fields={"_id": 1}) is not None:
        raise StoreUnavailable("another server prunes this workspace too", hint="Repeat the call when that has ended.")
