"""The store in a MongoDB database, as the rest of the server sees it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from bson import ObjectId

from vaporform_mcp.errors import Conflict
from vaporform_mcp.stores.base import Adopted, Blob, OnProgress, PruneReport, VerifyReport
from vaporform_mcp.stores.mongo import blobs as contents
from vaporform_mcp.stores.mongo import history, pruning, streams, sweeping, verifying, workspaces
from vaporform_mcp.stores.mongo.committing import Draft, commit
from vaporform_mcp.stores.mongo.database import Database, Tables
from vaporform_mcp.stores.mongo.tables import Doc
from vaporform_mcp.stores.mongo.trees import Known, Trees
from vaporform_mcp.types import Change, Digest, Entry, Head, Revision, TreeCount, WorkspacePath, WorkspaceRecord

__all__ = ["MongoStore", "open_mongo"]

UPLOAD_IDLE_S = 3600.0  # what has not grown for so long was left by a server that died


class MongoStore:
    """Any number of server processes, on any machines, may use the same database."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._trees = Trees()

    # Workspaces ------------------------------------------------------------------------------------------------

    async def create_workspace(self, record: WorkspaceRecord) -> WorkspaceRecord:
        return await workspaces.create((await self._kept_tables()).workspaces, record)

    async def get_workspace(self, owner: str, name: str) -> WorkspaceRecord | None:
        found = await workspaces.find((await self._tables()).workspaces, owner, name)
        if found is None:
            await self._database.check_kept()
        return found

    async def list_workspaces(self, owner: str, *, deleted: bool = False) -> Sequence[WorkspaceRecord]:
        found = await workspaces.listed((await self._tables()).workspaces, owner, deleted=deleted)
        if not found:
            await self._database.check_kept()
        return found

    async def update_workspace(self, record: WorkspaceRecord) -> WorkspaceRecord:
        return await workspaces.update((await self._tables()).workspaces, record)

    async def delete_workspace(self, workspace_id: str, *, version: int | None = None) -> None:
        tables = await self._tables()
        key = await workspaces.remove(tables.workspaces, workspace_id, version)
        self._trees.forget(workspace_id)
        if key is not None:
            await _clear(tables, key)

    # Blobs -----------------------------------------------------------------------------------------------------

    async def put_blobs(self, blobs: Sequence[Blob]) -> None:
        await contents.put(await self._kept_tables(), blobs, self._clock)

    async def put_large_blob(self, digest: Digest, size: int, chunks: AsyncIterator[bytes], mime_type: str) -> None:
        """See `Store`. The stream is not read where the blob is already kept."""
        tables = await self._kept_tables()
        if await self.missing([digest]):
            await streams.put(tables, digest, size, chunks, mime_type, self._clock)

    async def missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        return await contents.renew((await self._tables()).files, digests, self._clock())

    async def get_blobs(self, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
        tables = await self._tables()
        loaded, damaged = await contents.load(tables, digests)
        await contents.condemn_damaged(tables.files, damaged)
        return loaded

    async def stream_blob(self, digest: Digest) -> AsyncIterator[bytes]:
        async for chunk in streams.read(await self._tables(), digest):
            yield chunk

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
        named = {change.path: change.entry for change in changes}

        def draft(known: Known) -> Draft:
            _check_parent(parent, epoch, known.head)
            return Draft(
                parent=parent,
                id=revision_id,
                epoch=epoch,
                now=self._clock(),
                changes=named,
                made_by=made_by,
                label=label,
            )

        return await commit(await self._tables(), self._trees, workspace_id, draft, revision_id)

    async def adopt(self, workspace_id: str, adopted: Sequence[Adopted]) -> None:
        tables = await self._tables()
        for each in adopted:
            await self._adopt(tables, workspace_id, each)

    async def head(self, workspace_id: str) -> Head:
        document = await self._newest(workspace_id)
        return Head(number=document["number"], epoch=document["epoch"]) if document else Head(number=0, epoch=0)

    async def tree(self, workspace_id: str, at: int | None = None) -> Mapping[WorkspacePath, Entry]:
        tables = await self._tables()
        known = await self._trees.current(tables, workspace_id)
        if at is None or at == known.number:
            return dict(known.tree)
        if at == 0:
            return {}
        return (await history.tree(tables, workspace_id, at))[0]

    async def entries(
        self, workspace_id: str, paths: Collection[WorkspacePath], at: int | None = None
    ) -> Mapping[WorkspacePath, Entry]:
        tables = await self._tables()
        if at is None:
            if self._trees.remembered(workspace_id) is not None:
                tree = (await self._trees.current(tables, workspace_id)).tree
                return {path: tree[path] for path in paths if path in tree}
            at = (await self.head(workspace_id)).number
        return await history.entries(tables, workspace_id, paths, at) if at else {}

    async def count(self, workspace_id: str) -> TreeCount:
        document = await self._newest(workspace_id)
        if document is None:
            return TreeCount(files=0, size_bytes=0)
        return TreeCount(files=document["files"], size_bytes=document["size_bytes"])

    async def changes(self, workspace_id: str, *, after: int, upto: int | None = None) -> Sequence[Change]:
        return await history.changes(await self._tables(), workspace_id, after=after, upto=upto)

    async def last_entry(self, workspace_id: str, path: WorkspacePath) -> tuple[int, Entry] | None:
        return await history.last_entry(await self._tables(), workspace_id, path)

    async def log(
        self, workspace_id: str, *, path: WorkspacePath | None = None, before: int | None = None, limit: int = 50
    ) -> Sequence[Revision]:
        return await history.log(await self._tables(), workspace_id, path=path, before=before, limit=limit)

    async def labelled(self, workspace_id: str, label: str) -> Revision | None:
        return await history.labelled(await self._tables(), workspace_id, label)

    # Care ------------------------------------------------------------------------------------------------------

    async def prune(self, workspace_id: str, *, keep_after: int, grace_s: float, dry_run: bool = False) -> PruneReport:
        """See `Store`. Stopped half-way it leaves only what the next call removes."""
        tables = await self._tables()
        now = self._clock()
        put_before = now - grace_s
        if dry_run:
            return await self._forecast(tables, workspace_id, keep_after, put_before)
        dropped = await pruning.drop(tables, workspace_id, keep_after, now)
        for key in await sweeping.orphans(tables):
            await _clear(tables, key)
        grown_before = now - max(grace_s, UPLOAD_IDLE_S)
        await sweeping.sweep_left_overs(tables, grown_before)
        swept = await sweeping.sweep(tables, put_before)
        return PruneReport(revisions=dropped, blobs=swept.blobs, size_bytes=swept.size_bytes)

    async def verify(self, workspace_id: str | None = None, *, on_progress: OnProgress | None = None) -> VerifyReport:
        return await verifying.verify(await self._tables(), workspace_id, on_progress)

    async def aclose(self) -> None:
        await self._database.aclose()

    # -----------------------------------------------------------------------------------------------------------

    async def _tables(self) -> Tables:
        return await self._database.tables()

    async def _kept_tables(self) -> Tables:
        """For what would make collections where somebody has dropped them."""
        tables = await self._database.tables()
        await self._database.check_kept()
        return tables

    async def _newest(self, workspace_id: str) -> Doc | None:
        tables = await self._tables()
        return await history.newest(tables, await workspaces.state_of(tables.workspaces, workspace_id))

    async def _adopt(self, tables: Tables, workspace_id: str, adopted: Adopted) -> None:
        revision = adopted.revision
        named = {change.path: change.entry for change in adopted.changes}

        def draft(known: Known) -> Draft:
            if known.number >= revision.number or known.epoch > revision.epoch:
                raise _has_its_own(known.number)
            return Draft(
                parent=known.number,
                id=revision.id,
                epoch=revision.epoch,
                now=self._clock(),
                changes=named,
                made_by=revision.made_by,
                label=revision.label,
                adopted=revision,
            )

        done = await commit(tables, self._trees, workspace_id, draft, revision.id)
        if done.number != revision.number:
            raise _has_its_own(done.number)

    async def _forecast(self, tables: Tables, workspace_id: str, keep_after: int, put_before: float) -> PruneReport:
        state = await workspaces.state_of(tables.workspaces, workspace_id)
        thinned = await pruning.forecast(tables, workspace_id, keep_after)
        in_use = await sweeping.named(tables, {"workspace": {"$ne": state["key"]}}) | thinned.named
        sizes = [each["length"] async for each in sweeping.idle(tables, put_before) if each["_id"] not in in_use]
        return PruneReport(revisions=thinned.dropped, blobs=len(sizes), size_bytes=sum(sizes))


@asynccontextmanager
async def open_mongo(
    uri: str, database: str, *, clock: Callable[[], float] = time.time, read_only: bool = False
) -> AsyncGenerator[MongoStore]:
    """A store in that database, made at the first call where it is not there, unless it is `read_only`: for reading.

    Nothing is connected before the first call. `clock` tells seconds since the Unix epoch.

    Raises:
        StoreUnavailable: the URI cannot be used.
    """
    store = MongoStore(Database(uri, database, read_only=read_only), clock)
    try:
        yield store
    finally:
        await store.aclose()


async def _clear(tables: Tables, key: ObjectId) -> None:
    """Remove what a deleted workspace has left behind."""
    for table in (tables.folds, tables.changes, tables.revisions):
        await table.delete({"workspace": key})


def _check_parent(parent: int, epoch: int, head: Head) -> None:
    if parent != head.number:
        raise Conflict(
            f"the workspace is at revision {head.number}, not {parent}",
            hint="Look at what changed since, and repeat on top of that.",
        )
    if epoch < head.epoch:
        raise Conflict(
            f"the workspace has moved to another sandbox (epoch {head.epoch}; this one is {epoch})",
            hint="Open the workspace again: this sandbox is no longer its own.",
        )


def _has_its_own(number: int) -> Conflict:
    return Conflict(
        f"the workspace has a history of its own, up to revision {number}",
        hint="Delete the workspace there, or give the one that comes another name.",
    )
