"""Large blobs in GridFS: put and read as streams, in bounded memory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import anyio
from bson import ObjectId

from vaporform_mcp.errors import InvalidArgument, NotFound, StoreUnavailable
from vaporform_mcp.stores.mongo.blobs import CHUNK_BYTES, condemn_damaged, file_document, find, mark_whole
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.tables import Doc
from vaporform_mcp.types import Digest

__all__ = ["put", "read"]

log = logging.getLogger(__name__)

_CHUNKS_AT_ONCE = 16
_MOVED_AT_ONCE = 256
_DISCARD_S = 10.0
_TRIES = 3


async def put(
    tables: Tables,
    digest: Digest,
    size: int,
    chunks: AsyncIterator[bytes],
    mime_type: str,
    clock: Callable[[], float],
) -> None:
    """Keep the stream's chunks under a name of their own, and under the digest once they are known to have it."""
    upload = f"upload-{ObjectId()}"
    try:
        hashed, count = await _upload(tables, upload, size, chunks, clock)
        if hashed != digest:
            raise InvalidArgument(f"the stream put as {digest} has another digest", hint="Read the file again.")
        await _move(tables, upload, digest, count, clock)
        document = file_document(digest, size, mime_type, clock())
        await _keep(tables, document, count)
    finally:
        with anyio.move_on_after(_DISCARD_S, shield=True):
            await _discard(tables, upload)


async def read(tables: Tables, digest: Digest) -> AsyncIterator[bytes]:
    """See `Store.stream_blob`."""
    kept = (await find(tables.files, [digest])).get(digest)
    if kept is None:
        raise not_kept(digest)
    hasher, size, start = hashlib.sha256(), 0, 0
    while size < kept["length"]:
        window = {"files_id": digest, "n": {"$gte": start, "$lt": start + _CHUNKS_AT_ONCE}}
        found = await tables.chunks.find(window, fields={"n": 1, "data": 1})
        if not found:
            break
        for chunk in sorted(found, key=_number):
            data: bytes = chunk["data"]
            hasher.update(data)
            size += len(data)
            yield data
        start += _CHUNKS_AT_ONCE
    if hasher.hexdigest() != digest:
        await condemn_damaged(tables.files, [digest])
        raise not_kept(digest)


def not_kept(digest: Digest) -> NotFound:
    return NotFound(f"the store does not hold the content {digest} whole", hint="Read it from the sandbox instead.")


async def _upload(
    tables: Tables, upload: str, size: int, chunks: AsyncIterator[bytes], clock: Callable[[], float]
) -> tuple[str, int]:
    hasher, kept, number = hashlib.sha256(), 0, 0
    async with aclosing(_regrouped(chunks)) as groups:
        async for group in groups:
            kept += sum(map(len, group))
            if kept > size:
                break
            for data in group:
                hasher.update(data)
            now = clock()
            documents: list[Doc] = [
                {"files_id": upload, "n": number + place, "data": data, "put_at": now}
                for place, data in enumerate(group)
            ]
            await tables.chunks.insert_all(documents, size_bytes=sum(map(len, group)))
            number += len(group)
    if kept != size:
        than = "longer" if kept > size else f"{size - kept} bytes shorter"
        raise InvalidArgument(
            f"the stream is {than} than the {size} bytes that were announced", hint="Read the file again."
        )
    return hasher.hexdigest(), number


async def _move(tables: Tables, upload: str, digest: Digest, count: int, clock: Callable[[], float]) -> None:
    """Give the chunks the digest's name. Left-overs of an earlier put are the same bytes, and are made to count as put
    now; those of a damaged blob are replaced.
    """
    kept = await tables.files.one({"_id": digest})
    if kept is not None and kept["metadata"].get("damaged"):
        old = await tables.chunks.find({"files_id": digest}, fields={"_id": 1})
        await tables.chunks.delete_each([{"_id": chunk["_id"]} for chunk in old])
    for start in range(0, count, _MOVED_AT_ONCE):
        numbers = range(start, min(start + _MOVED_AT_ONCE, count))
        named = {"$set": {"files_id": digest, "put_at": clock()}}
        taken = await tables.chunks.update_each([({"files_id": upload, "n": number}, named) for number in numbers])
        again = {"$set": {"put_at": clock()}}
        await tables.chunks.update_each([({"files_id": digest, "n": numbers[place]}, again) for place in taken])


async def _keep(tables: Tables, document: Doc, count: int) -> None:
    """Make the blob one that is there, with all its chunks.

    A new one is marked first as if it were being removed, so that nobody takes its chunks for left-overs any more and
    nobody relies on it before they have been counted. A prune that takes it nevertheless changes the mark.
    """
    for _ in range(_TRIES):
        kept = await tables.files.one({"_id": document["_id"]})
        if kept is None:
            kept = {**document, "metadata": {**document["metadata"], "removing": ObjectId()}}
            if not await tables.files.insert(kept):
                continue  # somebody puts it too, or removes what was left of it
        await _check_moved(tables, document["_id"], count)
        if await mark_whole(tables.files, kept, document):
            return
    raise StoreUnavailable("a large file was removed again and again while it was put", hint="Repeat the call.")


async def _check_moved(tables: Tables, digest: Digest, count: int) -> None:
    found = await tables.chunks.count({"files_id": digest})
    if found != count:
        raise StoreUnavailable(
            f"{count - found} chunks of a large file were removed while it was put", hint="Repeat the call."
        )


async def _discard(tables: Tables, upload: str) -> None:
    """What is left where this fails or takes too long is removed by a prune."""
    try:
        await tables.chunks.delete({"files_id": upload})
    except StoreUnavailable:
        log.warning("a half-put blob was left in the database", exc_info=True)


async def _regrouped(chunks: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes]]:
    """The same bytes in pieces of `CHUNK_BYTES`, the last one shorter, several together."""
    pending = bytearray()
    group: list[bytes] = []
    async for chunk in chunks:
        pending += chunk
        while len(pending) >= CHUNK_BYTES:
            group.append(bytes(pending[:CHUNK_BYTES]))
            del pending[:CHUNK_BYTES]
            if len(group) == _CHUNKS_AT_ONCE:
                yield group
                group = []
    if pending:
        group.append(bytes(pending))
    if group:
        yield group


def _number(chunk: Doc) -> int:
    return chunk["n"]
