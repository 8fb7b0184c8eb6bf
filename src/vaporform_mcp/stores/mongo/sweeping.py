"""Removing blobs that nothing names, though writers are at work on other servers, and may sleep in between.

A blob that nothing has named for a while is condemned; then what revisions name is looked at once more. A writer that
names a condemned blob saves it (`blobs.check_kept`), so one that is condemned still can be removed. Its chunks are
noted first, then its document is marked with a token of this prune; only those chunks are deleted, and none that was
put again since. Whoever puts the blob meanwhile finds the mark and puts all of it anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from bson import ObjectId

from vaporform_mcp.stores.mongo.blobs import condemn_damaged, file_document
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.tables import ASKED_AT_ONCE, Doc, pieces
from vaporform_mcp.types import Digest

__all__ = ["Swept", "idle", "named", "orphans", "sweep", "sweep_left_overs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    blobs: int
    size_bytes: int


async def named(tables: Tables, condition: Doc | None = None) -> set[Digest]:
    """Every digest that a revision names, also one that is only about to be committed."""
    found: set[Digest] = set()
    fields = {"changes.digest": 1}
    for table in (tables.revisions, tables.changes):
        async for document in table.scan(condition or {}, fields=fields):
            found |= {change["digest"] for change in document.get("changes", ()) if "digest" in change}
    return found


async def idle(tables: Tables, put_before: float) -> AsyncIterator[Doc]:
    """The files that nobody has put or asked for since."""
    condition = {"metadata.put_at": {"$lte": put_before}, "metadata.removing": None}
    async for document in tables.files.scan(condition, fields={"length": 1}):
        yield document


async def sweep(tables: Tables, put_before: float) -> Swept:
    """Remove the blobs that nothing names and nobody has put or asked for since `put_before`."""
    in_use = await named(tables)
    sizes: dict[Digest, int] = {
        document["_id"]: document["length"]
        async for document in idle(tables, put_before)
        if document["_id"] not in in_use
    }
    if not sizes:
        return Swept(blobs=0, size_bytes=0)
    condemned = {"metadata.put_at": {"$lte": put_before}, "metadata.removing": None}
    token = ObjectId()
    await tables.files.update_named(list(sizes), {"$set": {"metadata.condemned": token}}, also=condemned)
    in_use = await named(tables)
    saved = [digest for digest in sizes if digest in in_use]
    await tables.files.update_named(saved, {"$unset": {"metadata.condemned": ""}})
    removed = await _remove(tables, [digest for digest in sizes if digest not in in_use], token)
    return Swept(blobs=len(removed), size_bytes=sum(sizes[digest] for digest in removed))


async def sweep_left_overs(tables: Tables, grown_before: float) -> None:
    """Remove what writers and prunes that died have left behind: chunks without a file, removals that have not ended,
    parts of revisions that were never committed, and what deleted workspaces had. A file without its chunks counts as
    damaged from then on, so that the next put mends it."""
    async for document in tables.files.scan({"metadata.removing": {"$ne": None}}, fields={"metadata": 1}):
        await _finish(tables, document["_id"], document["metadata"]["removing"])
    # The files first: chunks are put before them, so that whatever has none now has lost them.
    lengths: dict[Digest, int] = {
        document["_id"]: document["length"] async for document in tables.files.scan({}, fields={"length": 1})
    }
    chunked = await tables.chunks.distinct("files_id")
    for files_id in chunked:
        if files_id not in lengths:
            await _remove_orphan(tables, files_id, grown_before)
    empty = lengths.keys() - set(chunked)
    await condemn_damaged(tables.files, [digest for digest in empty if lengths[digest]])
    await _drop_lost_parts(tables, grown_before)


async def orphans(tables: Tables) -> Sequence[ObjectId]:
    """The keys of workspaces that were deleted and have left something behind."""
    keys: set[ObjectId] = set()
    for table in (tables.revisions, tables.changes, tables.folds):
        keys |= set(await table.distinct("workspace"))
    there = {document["key"] async for document in tables.workspaces.scan({}, fields={"key": 1})}
    return [key for key in keys if key not in there]


async def _remove(tables: Tables, digests: Sequence[Digest], condemned: ObjectId) -> list[Digest]:
    removed: list[Digest] = []
    for some in pieces(digests, ASKED_AT_ONCE):
        # Noted before they are marked: whatever was put before the mark and after the note is not among them.
        noted = await _chunks(tables, some)
        token = ObjectId()
        marks = {"$set": {"metadata.removing": token}, "$unset": {"metadata.condemned": ""}}
        await tables.files.update_named(some, marks, also={"metadata.condemned": condemned})
        mine = {each["_id"] for each in await tables.files.named("_id", some, also={"metadata.removing": token})}
        await _delete_chunks(tables, [chunk for chunk in noted if chunk["files_id"] in mine])
        await tables.files.delete({"_id": {"$in": list(mine)}, "metadata.removing": token})
        removed += [digest for digest in some if digest in mine]
    return removed


async def _finish(tables: Tables, digest: Digest, removing: ObjectId) -> None:
    """End a removal whose prune has died, or is slow: it then finds that the mark is not its own any more."""
    noted = await _chunks(tables, [digest])
    token = ObjectId()
    mark = {"$set": {"metadata.removing": token}}
    if await tables.files.update({"_id": digest, "metadata.removing": removing}, mark):
        await _delete_chunks(tables, noted)
        await tables.files.delete({"_id": digest, "metadata.removing": token})


async def _remove_orphan(tables: Tables, files_id: str, grown_before: float) -> None:
    """Chunks of no file that nobody has put for a while. While they go, a file that is being removed has their name."""
    noted = await _chunks(tables, [files_id])
    if not noted or max(chunk["put_at"] for chunk in noted) > grown_before:
        return
    token = ObjectId()
    claim = file_document(Digest(files_id), 0, "application/octet-stream", grown_before)
    claim["metadata"]["removing"] = token
    if await tables.files.insert(claim):
        await _delete_chunks(tables, noted)
        await tables.files.delete({"_id": files_id, "metadata.removing": token})


async def _chunks(tables: Tables, files_ids: Collection[str]) -> list[Doc]:
    return await tables.chunks.named("files_id", files_ids, fields={"files_id": 1, "put_at": 1})


async def _delete_chunks(tables: Tables, noted: Sequence[Doc]) -> None:
    await tables.chunks.delete_each([{"_id": chunk["_id"], "put_at": chunk["put_at"]} for chunk in noted])


async def _drop_lost_parts(tables: Tables, grown_before: float) -> None:
    names = ("parts", "next_parts")
    having: Doc = {"$or": [{name: {"$exists": True}} for name in names]}
    committed: set[ObjectId] = set()
    async for document in tables.revisions.scan(having, fields=dict.fromkeys(names, 1)):
        committed |= {document[name] for name in names if name in document}
    lost: set[ObjectId] = set()
    async for part in tables.changes.scan({"kept_at": {"$lte": grown_before}}, fields={"revision": 1}):
        if part["revision"] not in committed:
            lost.add(part["revision"])
    for name in lost:
        # A writer that commits them now either is found here, or finds the mark.
        await tables.changes.update_many({"revision": name}, {"$set": {"dropping": True}})
        if await tables.revisions.one({"$or": [{each: name} for each in names]}, fields={"_id": 1}) is None:
            await tables.changes.delete({"revision": name})
