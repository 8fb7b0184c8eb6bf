"""The store in one SQLite file, as the rest of the server sees it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from vaporform_mcp.errors import InvalidArgument, NotFound, StoreUnavailable
from vaporform_mcp.stores.base import Adopted, Blob, OnProgress, PruneReport, VerifyReport
from vaporform_mcp.stores.sqlite import blobs as contents
from vaporform_mcp.stores.sqlite import care, revisions, trees, workspaces
from vaporform_mcp.stores.sqlite.connections import Connections
from vaporform_mcp.types import Change, Digest, Entry, Head, Revision, TreeCount, WorkspacePath, WorkspaceRecord

__all__ = ["SqliteStore", "open_sqlite"]

log = logging.getLogger(__name__)

UPLOAD_IDLE_S = 3600.0  # an upload that has not grown for so long was left by a server that died
DISCARD_S = 10.0
BUSY_S = 5.0


class SqliteStore:
    """Any number of server processes of one machine may have the same file open."""

    def __init__(self, connections: Connections, clock: Callable[[], float], *, read_only: bool = False) -> None:
        self._clock = clock
        self._is_read_only = read_only
        self._read = connections.read
        self._write = connections.write
        self._close = connections.aclose

    # Workspaces ------------------------------------------------------------------------------------------------

    async def create_workspace(self, record: WorkspaceRecord) -> WorkspaceRecord:
        return await self._write(lambda connection: workspaces.create(connection, record))

    async def get_workspace(self, owner: str, name: str) -> WorkspaceRecord | None:
        return await self._read(lambda connection: workspaces.find(connection, owner, name))

    async def list_workspaces(self, owner: str, *, deleted: bool = False) -> Sequence[WorkspaceRecord]:
        return await self._read(lambda connection: workspaces.listed(connection, owner, deleted=deleted))

    async def update_workspace(self, record: WorkspaceRecord) -> WorkspaceRecord:
        return await self._write(lambda connection: workspaces.update(connection, record))

    async def delete_workspace(self, workspace_id: str, *, version: int | None = None) -> None:
        key = await self._write(lambda connection: workspaces.remove(connection, workspace_id, version))
        if key is not None:
            await self._clear(key)

    # Blobs -----------------------------------------------------------------------------------------------------

    async def put_blobs(self, blobs: Sequence[Blob]) -> None:
        now = self._clock()
        await self._write(lambda connection: contents.put(connection, blobs, now), durable=False)

    async def put_large_blob(self, digest: Digest, size: int, chunks: AsyncIterator[bytes], mime_type: str) -> None:
        """See `Store`. The stream is not read where the blob is already kept."""
        if not await self.missing([digest]):
            return
        now = self._clock()
        upload = await self._write(
            lambda connection: contents.start_upload(connection, size, mime_type, now), durable=False
        )
        is_finished = False
        try:
            hashed = await self._upload(upload, size, chunks)
            if hashed != digest:
                raise InvalidArgument(f"the stream put as {digest} has another digest", hint="Read the file again.")
            now = self._clock()
            await self._write(lambda connection: contents.finish_upload(connection, upload, digest, now), durable=False)
            is_finished = True
        finally:
            if not is_finished:
                await self._discard(upload)

    async def missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        # Most of what is asked about is new, and telling so needs no turn as a writer.
        if not await self._read(lambda connection: contents.find(connection, digests)):
            return frozenset(digests)
        now = self._clock()
        return await self._write(lambda connection: contents.renew(connection, digests, now), durable=False)

    async def get_blobs(self, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
        loaded, damaged = await self._read(lambda connection: contents.load(connection, digests))
        await self._condemn(damaged)
        return loaded

    async def stream_blob(self, digest: Digest) -> AsyncIterator[bytes]:
        kept = (await self._read(lambda connection: contents.find(connection, [digest]))).get(digest)
        if kept is None:
            raise _not_kept(digest)
        hasher, size, seq = hashlib.sha256(), 0, 0
        while size < kept.size:
            chunk = await self._read(lambda connection, seq=seq: contents.chunk(connection, kept.id, seq, hasher))
            if not chunk:
                break
            size += len(chunk)
            seq += 1
            yield chunk
        if hasher.hexdigest() != digest:
            await self._condemn([kept])
            raise _not_kept(digest)

    # Mirror ----------------------------------------------------------------------------------------------------

    async def append(
        self,
        workspace_id: str,
        *,
        parent: int,
        revision_id: str,
        epoch: int,
        changes: Sequence[Change],
        made_by: str,
        label: str | None = None,
    ) -> Revision:
        draft = revisions.Draft(
            parent=parent,
            id=revision_id,
            epoch=epoch,
            time=self._clock(),
            changes={change.path: change.entry for change in changes},
            made_by=made_by,
            label=label,
        )
        return await self._write(lambda connection: revisions.append(connection, workspace_id, draft))

    async def adopt(self, workspace_id: str, adopted: Sequence[Adopted]) -> None:
        await self._write(lambda connection: revisions.adopt(connection, workspace_id, adopted))

    async def head(self, workspace_id: str) -> Head:
        return await self._read(lambda connection: revisions.head(connection, workspace_id))

    async def tree(self, workspace_id: str, at: int | None = None) -> Mapping[WorkspacePath, Entry]:
        return await self._read(lambda connection: trees.tree(connection, workspace_id, at))

    async def entries(
        self, workspace_id: str, paths: Collection[WorkspacePath], at: int | None = None
    ) -> Mapping[WorkspacePath, Entry]:
        return await self._read(lambda connection: trees.entries(connection, workspace_id, paths, at))

    async def count(self, workspace_id: str) -> TreeCount:
        return await self._read(lambda connection: revisions.count(connection, workspace_id))

    async def changes(self, workspace_id: str, *, after: int, upto: int | None = None) -> Sequence[Change]:
        return await self._read(lambda connection: trees.changes(connection, workspace_id, after=after, upto=upto))

    async def last_entry(self, workspace_id: str, path: WorkspacePath) -> tuple[int, Entry] | None:
        return await self._read(lambda connection: trees.last_entry(connection, workspace_id, path))

    async def log(
        self, workspace_id: str, *, path: WorkspacePath | None = None, before: int | None = None, limit: int = 50
    ) -> Sequence[Revision]:
        return await self._read(
            lambda connection: revisions.log(connection, workspace_id, path=path, before=before, limit=limit)
        )

    async def labelled(self, workspace_id: str, label: str) -> Revision | None:
        return await self._read(lambda connection: revisions.labelled(connection, workspace_id, label))

    # Care ------------------------------------------------------------------------------------------------------

    async def prune(self, workspace_id: str, *, keep_after: int, grace_s: float, dry_run: bool = False) -> PruneReport:
        """See `Store`. Stopped half-way it leaves only what the next call removes."""
        now = self._clock()
        put_before, grown_before = now - grace_s, now - max(grace_s, UPLOAD_IDLE_S)
        if dry_run:
            return await self._read(lambda connection: care.forecast(connection, workspace_id, keep_after, put_before))
        walk = await self._write(lambda connection: care.drop_revisions(connection, workspace_id, keep_after))
        place: care.Place | None = care.Place()
        while place is not None:
            place = await self._write(
                lambda connection, place=place: care.thin_out(connection, walk, place), durable=False
            )
        for key in await self._read(care.orphans):
            await self._clear(key)
        count = size_bytes = 0
        last: int | None = 0
        while last is not None:
            swept = await self._write(
                lambda connection, last=last: care.sweep(
                    connection, last, put_before=put_before, grown_before=grown_before
                ),
                durable=False,
            )
            last, count, size_bytes = swept.last, count + swept.blobs, size_bytes + swept.size_bytes
        while await self._write(care.give_back, durable=False):
            pass
        return PruneReport(revisions=walk.dropped, blobs=count, size_bytes=size_bytes)

    async def verify(self, workspace_id: str | None = None, *, on_progress: OnProgress | None = None) -> VerifyReport:
        whole = size_bytes = 0
        missing: list[Digest] = []
        corrupt: list[Digest] = []
        total = await self._read(lambda connection: care.used(connection, workspace_id)) if on_progress else 0
        async for digests in self._named(workspace_id):
            at = 0
            while at < len(digests):
                found = await self._read(partial(care.rehash, digests=digests, start=at))
                await self._condemn(found.corrupt)
                at += found.done
                whole += found.whole
                size_bytes += found.size_bytes
                missing += found.missing
                corrupt += [kept.digest for kept in found.corrupt]
                if on_progress is not None:
                    on_progress(whole + len(missing) + len(corrupt), total)
        if workspace_id is None:
            missing += await self._read(care.unkept)
        return VerifyReport(blobs=whole + len(corrupt), size_bytes=size_bytes, missing=missing, corrupt=corrupt)

    async def aclose(self) -> None:
        await self._close()

    # -----------------------------------------------------------------------------------------------------------

    async def _upload(self, upload: int, size: int, chunks: AsyncIterator[bytes]) -> str:
        hasher, kept, seq = hashlib.sha256(), 0, 0
        async with aclosing(_regrouped(chunks)) as parts:
            async for part in parts:
                kept += len(part)
                if kept > size:
                    break
                grow = partial(contents.grow_upload, upload=upload, seq=seq, content=part, now=self._clock())
                await self._write(partial(grow, hasher=hasher), durable=False)
                seq += 1
        if kept != size:
            than = "longer" if kept > size else f"{size - kept} bytes shorter"
            raise InvalidArgument(
                f"the stream is {than} than the {size} bytes that were announced", hint="Read the file again."
            )
        return hasher.hexdigest()

    async def _discard(self, upload: int) -> None:
        """What is left where this fails or takes too long is removed by `prune`."""
        try:
            with anyio.move_on_after(DISCARD_S, shield=True):
                await self._write(lambda connection: contents.discard_upload(connection, upload), durable=False)
        except StoreUnavailable:
            log.warning("a half-put blob was left in the store's file", exc_info=True)

    async def _condemn(self, damaged: Iterable[contents.Kept]) -> None:
        """Let the next put replace what is damaged. A file that cannot be written now is no reason not to answer."""
        found = [kept for kept in damaged if not kept.is_damaged]
        if not found or self._is_read_only:
            return
        log.error("the store's file has %d damaged blobs: %s", len(found), ", ".join(kept.digest for kept in found))
        try:
            await self._write(lambda connection: contents.condemn(connection, found), durable=False)
        except StoreUnavailable:
            log.warning("the damage could not be noted in the store's file", exc_info=True)

    async def _clear(self, key: int) -> None:
        while await self._write(lambda connection: care.clear_some(connection, key), durable=False):
            pass

    async def _named(self, workspace_id: str | None) -> AsyncGenerator[Sequence[Digest]]:
        if workspace_id is not None:
            yield await self._read(lambda connection: care.named_by(connection, workspace_id))
            return
        last = ""
        while digests := await self._read(lambda connection, last=last: care.used_after(connection, last)):
            yield digests
            last = digests[-1]


@asynccontextmanager
async def open_sqlite(
    path: Path, *, clock: Callable[[], float] = time.time, busy_s: float = BUSY_S, read_only: bool = False
) -> AsyncGenerator[SqliteStore]:
    """A store in the file at `path`, made at the first call where it is not there.

    Nothing is opened before the first call, so opening never fails. `clock` tells seconds since the Unix epoch.
    `busy_s` is how long another process may keep the file locked before a call gives up. One that is `read_only` has to
    be there, of the current schema; what would change it fails.
    """
    store = SqliteStore(Connections(path, busy_s, read_only=read_only), clock, read_only=read_only)
    try:
        yield store
    finally:
        await store.aclose()


async def _regrouped(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The same bytes in pieces of `CHUNK_BYTES`, the last one shorter."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        while len(pending) >= contents.CHUNK_BYTES:
            yield bytes(pending[: contents.CHUNK_BYTES])
            del pending[: contents.CHUNK_BYTES]
    if pending:
        yield bytes(pending)


def _not_kept(digest: Digest) -> NotFound:
    return NotFound(f"the store does not hold the content {digest} whole", hint="Read it from the sandbox instead.")
