"""Folds: whole trees kept at intervals, so that reading one costs no more however many revisions there are.

They are derived: one that is missing costs time, and is made by whoever notices. A fold is in pages by path; the page
with number 0 comes last and makes it one.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bson import ObjectId

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.entries import Torn, change_document, entry_of, parts_of
from vaporform_mcp.stores.mongo.tables import Doc
from vaporform_mcp.types import Entry, WorkspacePath

__all__ = ["Fold", "find", "is_due", "keep", "load"]

log = logging.getLogger(__name__)

_FEWEST_STEPS = 256
_PAGES_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """The tree at revision `number`; `firsts` has the first path of each page."""

    number: int
    firsts: list[WorkspacePath]
    entries: list[Doc]


NOTHING = Fold(number=0, firsts=[], entries=[])


def is_due(steps: int, files: int) -> bool:
    """Whether what came since the last fold costs about as much to read as the tree would.

    So all folds together hold no more than what the revisions do.
    """
    return steps > _FEWEST_STEPS + 2 * files


async def find(tables: Tables, state: Doc, at: int) -> Fold:
    """The latest fold up to revision `at`, its first page with it; the empty tree at 0 where there is none.

    None from before what was pruned: of what was removed after it, the revisions that are kept need not tell.
    """
    numbers = {"$gt": state["pruned_to"], "$lte": at}
    page = await tables.folds.one({"workspace": state["key"], "page": 0, "number": numbers}, last="number")
    if page is None:
        return NOTHING
    return Fold(number=page["number"], firsts=page["firsts"], entries=page["entries"])


async def load(
    tables: Tables, key: ObjectId, fold: Fold, paths: Collection[WorkspacePath] | None = None
) -> dict[WorkspacePath, Entry]:
    """The fold's entries, or those of `paths` alone, for which only the pages that may have them are read.

    Raises `Torn`.
    """
    wanted = (
        range(len(fold.firsts))
        if paths is None
        else {bisect_right(fold.firsts, path.encode(), key=_bytes) - 1 for path in paths}
    )
    further = [number for number in wanted if number > 0]
    documents = fold.entries
    if further:
        condition: Doc = {"workspace": key, "number": fold.number}
        pages = await tables.folds.named("page", further, also=condition, fields={"entries": 1})
        if len(pages) < len(further):
            raise Torn
        documents = [*documents, *(document for page in pages for document in page["entries"])]
    return {
        document["path"]: entry
        for document in documents
        if (paths is None or document["path"] in paths) and (entry := entry_of(document)) is not None
    }


async def keep(
    tables: Tables, workspace_id: str, key: ObjectId, number: int, tree: Mapping[WorkspacePath, Entry]
) -> None:
    """Keep the tree at that revision. Another server may do so too, with the same pages; a failure costs only time."""
    parts = list(parts_of(change_document(path, tree[path]) for path in sorted(tree, key=_bytes)))
    firsts = [part[0]["path"] for part in parts]
    pages: list[Doc] = [
        {"workspace": key, "number": number, "page": page, "entries": list(part)} for page, part in enumerate(parts)
    ]
    first: Doc = pages[0] if pages else {"workspace": key, "number": number, "page": 0, "entries": []}
    try:
        for start in range(1, len(pages), _PAGES_AT_ONCE):
            some = pages[start : start + _PAGES_AT_ONCE]
            await tables.folds.insert_all(some, size_bytes=len(some) * 1024 * 1024)
        await tables.folds.insert({**first, "firsts": firsts})
        await tables.workspaces.update({"_id": workspace_id, "key": key}, {"$max": {"folded_to": number}})
    except StoreUnavailable as error:
        log.info("a tree was not folded: %s", error)


def _bytes(path: WorkspacePath) -> bytes:
    return path.encode()
