"""Committed revisions as they are read: which there are, what they did, and the trees that follow from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from bson import ObjectId

from vaporform_mcp.errors import NotFound
from vaporform_mcp.stores.mongo import folds
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.entries import Step, Torn, revision_of, step_of, under
from vaporform_mcp.stores.mongo.tables import Doc
from vaporform_mcp.stores.mongo.workspaces import state_of
from vaporform_mcp.types import Change, Entry, Revision, WorkspacePath

__all__ = [
    "apply",
    "changes",
    "check_kept",
    "entries",
    "kept",
    "labelled",
    "last_entry",
    "log",
    "newest",
    "since",
    "steps_of",
    "tree",
]

_HEAD = {"changes": 0}
_NOWHERE = 2**62
_TRIES = 5  # each is lost only to a prune that comes while it reads

T = TypeVar("T")


async def newest(tables: Tables, state: Doc) -> Doc | None:
    """The head's document without its changes; None before the first revision."""
    return await tables.revisions.one(
        {"workspace": state["key"], "number": {"$gte": state["folded_to"]}, "pending": None},
        fields=_HEAD,
        last="number",
    )


async def since(tables: Tables, state: Doc, after: int, upto: int = _NOWHERE) -> list[Doc]:
    """The revisions after a number, oldest first, with their changes."""
    found = await tables.revisions.find(
        {"workspace": state["key"], "number": {"$gt": after, "$lte": upto}, "pending": None}, sort=("number", 1)
    )
    return [document for document in found if _is_kept(document, state)]


async def steps_of(tables: Tables, documents: Sequence[Doc]) -> dict[int, list[Step]]:
    """What each of these revisions bears, by its number: its own changes, and those of pruned ones before it.

    Raises `Torn`.
    """
    parts: dict[ObjectId, list[Doc]] = {document["parts"]: [] for document in documents if "parts" in document}
    for part in await tables.changes.named("revision", list(parts)):
        parts[part["revision"]].append(part)
    steps: dict[int, list[Step]] = {}
    for document in documents:
        number = document["number"]
        if "parts" in document and len(parts[document["parts"]]) != document["part_count"]:
            raise Torn
        pieces = [document] if "parts" not in document else sorted(parts[document["parts"]], key=_part)
        steps[number] = [step_of(change, number) for piece in pieces for change in piece["changes"]]
    return steps


async def check_kept(tables: Tables, state: Doc, number: int) -> None:
    """Raises `NotFound` where there is no such revision, or it was pruned."""
    found = await tables.revisions.one(
        {"workspace": state["key"], "number": number, "pending": None}, fields={"number": 1, "kept": 1}
    )
    if found is None or not _is_kept(found, state):
        raise NotFound(f"there is no revision {number}", hint="It never was, or was pruned; look at the newest.")


async def _steady(tables: Tables, workspace_id: str, read: Callable[[Doc], Awaitable[T]]) -> T:
    """What `read` makes of the workspace's state; once more where a prune dropped meanwhile what that says is there.

    A prune says first what it drops, so what was read between two looks that agree is whole.
    """
    state = await state_of(tables.workspaces, workspace_id)
    for _ in range(_TRIES):
        found: list[T] = []
        with suppress(Torn):
            found.append(await read(state))
        before, state = state, await state_of(tables.workspaces, workspace_id)
        if found and (before["key"], before["pruned_to"]) == (state["key"], state["pruned_to"]):
            return found[0]
    raise Torn


async def tree(tables: Tables, workspace_id: str, at: int) -> tuple[dict[WorkspacePath, Entry], int]:
    """Every path at a revision, and how many steps were read beside the fold."""

    async def read(state: Doc) -> tuple[dict[WorkspacePath, Entry], int]:
        fold = await folds.find(tables, state, at)
        found = await folds.load(tables, state["key"], fold)
        documents = await since(tables, state, fold.number, at)
        steps = await steps_of(tables, documents)
        for number in sorted(steps):
            apply(found, steps[number])
        await check_kept(tables, state, at)
        return found, len(documents) + sum(map(len, steps.values()))

    return await _steady(tables, workspace_id, read)


async def entries(
    tables: Tables, workspace_id: str, paths: Collection[WorkspacePath], at: int
) -> Mapping[WorkspacePath, Entry]:
    """Those of `paths` that are there at a revision; only what may tell of them is read."""
    wanted = frozenset(paths)

    async def read(state: Doc) -> Mapping[WorkspacePath, Entry]:
        fold = await folds.find(tables, state, at)
        found = await folds.load(tables, state["key"], fold, wanted)
        also = {"workspace": state["key"], "number": {"$gt": fold.number, "$lte": at}}
        documents = await tables.revisions.named("changes.path", wanted, also={**also, "pending": None})
        pieces = [document for document in documents if _is_kept(document, state)]
        pieces += await _committed(tables, state, await tables.changes.named("changes.path", wanted, also=also))
        for piece in sorted(pieces, key=_number):
            apply(found, [step_of(each, piece["number"]) for each in piece["changes"] if each["path"] in wanted])
        await check_kept(tables, state, at)
        return found

    return await _steady(tables, workspace_id, read)


async def changes(tables: Tables, workspace_id: str, *, after: int, upto: int | None) -> Sequence[Change]:
    async def read(state: Doc) -> Sequence[Change]:
        documents = await since(tables, state, after, _NOWHERE if upto is None else upto)
        steps = await steps_of(tables, documents)
        head = documents[-1]["number"] if documents else after
        for number in {after, head if upto is None else upto} - {0}:
            await check_kept(tables, state, number)
        folded: dict[WorkspacePath, Entry | None] = {}
        for number in sorted(steps):
            folded |= {step.path: step.entry for step in steps[number]}
        return [Change(path=path, entry=entry) for path, entry in folded.items()]

    return await _steady(tables, workspace_id, read)


async def last_entry(tables: Tables, workspace_id: str, path: WorkspacePath) -> tuple[int, Entry] | None:
    state = await state_of(tables.workspaces, workspace_id)
    named: dict[str, Any] = {
        "workspace": state["key"],
        "changes": {"$elemMatch": {"path": path, "kind": {"$ne": None}}},
    }
    # A few, since what a prune has left behind may be among them.
    found = await tables.revisions.find({**named, "pending": None}, sort=("number", -1), limit=5)
    pieces = [document for document in found if _is_kept(document, state)]
    pieces += await _committed(tables, state, await tables.changes.find(named, sort=("number", -1), limit=5))
    for piece in sorted(pieces, key=_number, reverse=True):
        for document in piece["changes"]:
            step = step_of(document, piece["number"])
            if step.path == path and step.entry is not None:
                return step.number, step.entry
    return None


async def log(
    tables: Tables, workspace_id: str, *, path: WorkspacePath | None, before: int | None, limit: int
) -> Sequence[Revision]:
    state = await state_of(tables.workspaces, workspace_id)
    if limit <= 0:
        return []
    below = _NOWHERE if before is None else before
    if path:
        documents = await _log_of(tables, state, path, below, limit)
    else:
        documents = await _newest_below(tables, state, below, limit)
    return [revision_of(document) for document in documents]


async def labelled(tables: Tables, workspace_id: str, label: str) -> Revision | None:
    state = await state_of(tables.workspaces, workspace_id)
    condition = {"workspace": state["key"], "label": label, "pending": None}
    found = await tables.revisions.find(condition, fields=_HEAD, sort=("number", -1), limit=5)
    return next((revision_of(document) for document in found if _is_kept(document, state)), None)


def apply(found: dict[WorkspacePath, Entry], steps: Sequence[Step]) -> None:
    for step in steps:
        if step.entry is None:
            found.pop(step.path, None)
        else:
            found[step.path] = step.entry


async def _newest_below(tables: Tables, state: Doc, below: int, limit: int) -> list[Doc]:
    head = await newest(tables, state)
    if head is None:
        return []
    # Where no numbers are missing they lie close together, which is a short way even without the order of an index.
    last = min(below - 1, head["number"])
    for first in (last - limit + 1, 0):
        condition: Doc = {"workspace": state["key"], "number": {"$gte": first, "$lte": last}, "pending": None}
        found = await tables.revisions.find(
            {**condition, **kept(state)}, fields=_HEAD, sort=("number", -1), limit=limit
        )
        if len(found) == limit or first <= 1:
            return found
    return []


async def _log_of(tables: Tables, state: Doc, path: WorkspacePath, below: int, limit: int) -> list[Doc]:
    touches = [{"changes": {"$elemMatch": {"path": name, "from": None}}} for name in (path, under(path))]
    condition: Doc = {"workspace": state["key"], "number": {"$lt": below}, "$or": touches}
    found = await tables.revisions.find(
        {"$and": [{**condition, "pending": None}, kept(state)]}, fields=_HEAD, sort=("number", -1), limit=limit
    )
    numbers: set[int] = set()
    pieces: list[Doc] = []
    async for piece in tables.changes.scan(condition, fields={"number": 1, "revision": 1}, sort="-number"):
        if piece["number"] not in numbers and len(numbers) == limit:
            break
        numbers.add(piece["number"])
        pieces.append(piece)
    committed = {piece["number"] for piece in await _committed(tables, state, pieces)}
    found += await tables.revisions.named("number", committed, also={"workspace": state["key"]}, fields=_HEAD)
    return sorted(found, key=_number, reverse=True)[:limit]


async def _committed(tables: Tables, state: Doc, pieces: Sequence[Doc]) -> list[Doc]:
    """Those parts that belong to a revision: those of an append that failed may lie about."""
    also = {"workspace": state["key"], "pending": None}
    heads = await tables.revisions.named("number", {piece["number"] for piece in pieces}, also=also, fields=_HEAD)
    kept = {head["parts"] for head in heads if "parts" in head and _is_kept(head, state)}
    return [piece for piece in pieces if piece["revision"] in kept]


def _is_kept(document: Doc, state: Doc) -> bool:
    return document["number"] > state["pruned_to"] or bool(document.get("kept"))


def kept(state: Doc) -> Doc:
    """The same as `_is_kept`, as a condition."""
    return {"$or": [{"number": {"$gt": state["pruned_to"]}}, {"kept": True}]}


def _number(document: Doc) -> int:
    return document["number"]


def _part(document: Doc) -> int:
    return document["part"]
