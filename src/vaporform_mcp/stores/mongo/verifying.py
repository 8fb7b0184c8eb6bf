"""Reading every blob that a revision names, and hashing it anew."""

from __future__ import annotations

from collections.abc import Sequence

from vaporform_mcp.errors import NotFound
from vaporform_mcp.stores.base import MAX_BLOB_BATCH_BYTES, OnProgress, VerifyReport
from vaporform_mcp.stores.mongo import blobs, streams, sweeping
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.tables import ASKED_AT_ONCE, Doc, pieces
from vaporform_mcp.stores.mongo.workspaces import state_of
from vaporform_mcp.types import Digest

__all__ = ["verify"]


async def verify(tables: Tables, workspace_id: str | None, on_progress: OnProgress | None) -> VerifyReport:
    condition: Doc = {}
    if workspace_id is not None:
        condition = {"workspace": (await state_of(tables.workspaces, workspace_id))["key"]}
    digests = sorted(await sweeping.named(tables, condition))
    read = size_bytes = 0
    missing: list[Digest] = []
    corrupt: list[Digest] = []
    for some in pieces(digests, ASKED_AT_ONCE):
        found = await tables.files.named("_id", some, also={"metadata.removing": None})
        there: dict[Digest, Doc] = {document["_id"]: document for document in found}
        missing += [digest for digest in some if digest not in there]
        known = {digest: document for digest, document in there.items() if "damaged" not in document["metadata"]}
        corrupt += [digest for digest in there if digest not in known]
        sizes = {digest: document["length"] for digest, document in known.items()}
        for together in _together(sizes):
            bad = await _damaged(tables, together, sizes)
            corrupt += bad
            size_bytes += sum(sizes[digest] for digest in together if digest not in bad)
        read += len(some)
        if on_progress is not None:
            on_progress(read, len(digests))
    return VerifyReport(blobs=len(digests) - len(missing), size_bytes=size_bytes, missing=missing, corrupt=corrupt)


def _together(sizes: dict[Digest, int]) -> list[list[Digest]]:
    """The blobs, as many together as may be read at once; a large one alone."""
    groups: list[list[Digest]] = []
    room = 0
    for digest, size in sizes.items():
        if not groups or size > room:
            groups.append([])
            room = MAX_BLOB_BATCH_BYTES
        groups[-1].append(digest)
        room -= size
    return groups


async def _damaged(tables: Tables, digests: Sequence[Digest], sizes: dict[Digest, int]) -> list[Digest]:
    if sizes[digests[0]] > MAX_BLOB_BATCH_BYTES:
        try:
            async for _ in streams.read(tables, digests[0]):
                pass
        except NotFound:
            return [digests[0]]
        return []
    _, damaged = await blobs.load(tables, digests)
    await blobs.condemn_damaged(tables.files, damaged)
    return damaged
