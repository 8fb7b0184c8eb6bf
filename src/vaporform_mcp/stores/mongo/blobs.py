"""Blobs in GridFS: each kept once under its digest, its chunks first, and whole or not at all.

A blob is there when `blobs.files` has it. Its document may bear marks in `metadata`: `condemned`, a prune that is about
to remove it unless somebody names it first; `removing`, its chunks may be gone; `damaged`, what was read was not what
the digest says. The last two count as missing, and putting it again mends it. The chunks of whatever was put are the
right ones, since content is hashed before it goes under its digest; `put_at` of a chunk tells a prune whether somebody
has put it again since the prune looked.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from vaporform_mcp.errors import InvalidArgument, StoreUnavailable, TooLarge
from vaporform_mcp.stores.base import MAX_BLOB_BATCH_BYTES, Blob
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.tables import Doc, Table
from vaporform_mcp.types import Digest

__all__ = [
    "CHUNK_BYTES",
    "WHOLE",
    "check_kept",
    "condemn_damaged",
    "file_document",
    "find",
    "load",
    "mark_whole",
    "put",
    "renew",
]

log = logging.getLogger(__name__)

CHUNK_BYTES = 255 * 1024
"""What GridFS drivers use by default."""

WHOLE = {"metadata.removing": None, "metadata.damaged": None}
RENEW_AFTER_S = 1.0
LATE_S = 600.0
"""After so long, as where this machine slept, a prune elsewhere may have taken chunks without a file for left-overs."""

_STATE = {"length": 1, "metadata": 1}
_REVIVE_TRIES = 5


async def put(tables: Tables, blobs: Sequence[Blob], clock: Callable[[], float]) -> None:
    _check(blobs)
    now = clock()
    wanted = {blob.digest: blob for blob in blobs}
    size = sum(len(blob.content) for blob in wanted.values())
    chunks = [chunk for blob in wanted.values() for chunk in _chunks(blob.digest, blob.content, now)]
    # Most of what is put is new, so nobody asks first.
    again = await tables.chunks.insert_all(chunks, size_bytes=size)
    there = {chunks[place]["files_id"] for place in again}
    fresh = [blob for digest, blob in wanted.items() if digest not in there]
    files = [file_document(blob.digest, len(blob.content), blob.mime_type, now) for blob in fresh]
    there |= {files[place]["_id"] for place in await tables.files.insert_all(files, size_bytes=0)}
    late = clock() - now > LATE_S
    lacking = [wanted[digest] for digest in await _lacking(tables.files, there, now)]
    for blob in [*lacking, *(fresh if late else ())]:
        await revive(tables, blob, clock())


async def revive(tables: Tables, blob: Blob, now: float) -> None:
    """Put what is half there, damaged or being removed: its chunks are written over, then it is marked whole.

    Whoever removes it meanwhile marks it first with a token of its own, so that marking it whole then fails.
    """
    count = -(-len(blob.content) // CHUNK_BYTES)
    for _ in range(_REVIVE_TRIES):
        kept = await tables.files.one({"_id": blob.digest}, fields=_STATE)
        await tables.chunks.delete({"files_id": blob.digest, "n": {"$gte": count}})
        writes = [
            ({"files_id": blob.digest, "n": chunk["n"]}, {"$set": {"data": chunk["data"], "put_at": now}})
            for chunk in _chunks(blob.digest, blob.content, now)
        ]
        if writes:
            await tables.chunks.upsert_all(writes, size_bytes=len(blob.content))
        if await mark_whole(tables.files, kept, file_document(blob.digest, len(blob.content), blob.mime_type, now)):
            return
    raise _contended()


async def mark_whole(files: Table, kept: Doc | None, document: Doc) -> bool:
    """Make the blob one that is there, unless its document is no longer the one that was `kept` (None: none)."""
    if kept is None:
        return await files.insert(document)
    removing = kept["metadata"].get("removing")
    fields = {name: value for name, value in document.items() if name != "_id"}
    return await files.update({"_id": document["_id"], "metadata.removing": removing}, {"$set": fields})


async def find(files: Table, digests: Collection[Digest]) -> dict[Digest, Doc]:
    """Those of `digests` that are kept whole, as far as is known."""
    found = await files.named("_id", set(digests), also=WHOLE, fields=_STATE)
    return {document["_id"]: document for document in found}


async def renew(files: Table, digests: Collection[Digest], now: float) -> frozenset[Digest]:
    """Note that a writer relies on those that are kept whole; answers with the others."""
    return frozenset(await _lacking(files, digests, now))


async def check_kept(files: Table, digests: Collection[Digest]) -> frozenset[Digest]:
    """Those that are not kept, for a writer that has just named them all in a revision.

    Whoever prunes looks for such names after it has condemned a blob; one that is condemned is therefore saved here.
    """
    found = await find(files, digests)
    condemned = [digest for digest, document in found.items() if document["metadata"].get("condemned") is not None]
    if condemned:
        saved = await files.update_named(condemned, {"$unset": {"metadata.condemned": ""}}, also=WHOLE)
        if saved != len(condemned):
            found = await find(files, digests)
    return frozenset(digests) - found.keys()


async def load(tables: Tables, digests: Collection[Digest]) -> tuple[Mapping[Digest, bytes], list[Digest]]:
    """The bytes of those that are kept, and those whose bytes turned out not to be what their digest says."""
    kept = await find(tables.files, digests)
    size = sum(document["length"] for document in kept.values())
    if size > MAX_BLOB_BATCH_BYTES:
        raise TooLarge(
            f"{len(kept)} blobs of {size} bytes together are over the {MAX_BLOB_BATCH_BYTES} that one call may ask for",
            hint="Ask for them in several calls, and for a large one as a stream.",
        )
    parts: dict[Digest, list[tuple[int, bytes]]] = defaultdict(list)
    filled = [digest for digest, document in kept.items() if document["length"]]
    for chunk in await tables.chunks.named("files_id", filled, fields={"files_id": 1, "n": 1, "data": 1}):
        parts[chunk["files_id"]].append((chunk["n"], chunk["data"]))
    loaded: dict[Digest, bytes] = {}
    damaged: list[Digest] = []
    for digest in kept:
        content = b"".join(data for _, data in sorted(parts[digest]))
        if hashlib.sha256(content).hexdigest() == digest:
            loaded[digest] = content
        else:
            damaged.append(digest)
    return loaded, damaged


async def condemn_damaged(files: Table, damaged: Collection[Digest]) -> None:
    """Let the next put replace what is damaged. A database that takes no writes is no reason not to answer."""
    if not damaged:
        return
    log.error("the database has %d damaged blobs: %s", len(damaged), ", ".join(damaged))
    try:
        await files.update_named(damaged, {"$set": {"metadata.damaged": True}}, also={"metadata.removing": None})
    except StoreUnavailable:
        log.warning("the damage could not be noted in the database", exc_info=True)


def file_document(digest: Digest, size: int, mime_type: str, now: float) -> Doc:
    return {
        "_id": digest,
        "filename": digest,
        "length": size,
        "chunkSize": CHUNK_BYTES,
        "uploadDate": datetime.fromtimestamp(now, UTC),
        "metadata": {"contentType": mime_type, "put_at": now},
    }


async def _lacking(files: Table, digests: Collection[Digest], now: float) -> Collection[Digest]:
    """Those that are not kept whole; the others are renewed."""
    if not digests:
        return ()
    found = await find(files, digests)
    stale = [
        digest
        for digest, document in found.items()
        if document["metadata"]["put_at"] < now - RENEW_AFTER_S or document["metadata"].get("condemned") is not None
    ]
    change = {"$set": {"metadata.put_at": now}, "$unset": {"metadata.condemned": ""}}
    if stale and await files.update_named(stale, change, also=WHOLE) != len(stale):
        found = await find(files, digests)  # a prune took some of them meanwhile
    return [digest for digest in digests if digest not in found]


def _chunks(digest: Digest, content: bytes, now: float) -> Iterable[Doc]:
    return (
        {"files_id": digest, "n": number, "data": content[start : start + CHUNK_BYTES], "put_at": now}
        for number, start in enumerate(range(0, len(content), CHUNK_BYTES))
    )


def _check(blobs: Sequence[Blob]) -> None:
    size = sum(len(blob.content) for blob in blobs)
    if size > MAX_BLOB_BATCH_BYTES:
        raise TooLarge(
            f"{len(blobs)} blobs of {size} bytes together are over the {MAX_BLOB_BATCH_BYTES} that one call may put",
            hint="Put them in several calls, and a large one as a stream.",
        )
    for blob in blobs:
        if hashlib.sha256(blob.content).hexdigest() != blob.digest:
            raise InvalidArgument(f"the content put as {blob.digest} has another digest", hint="Read the file again.")


def _contended() -> StoreUnavailable:
    return StoreUnavailable("a blob was removed again and again while it was put", hint="Repeat the call.")
