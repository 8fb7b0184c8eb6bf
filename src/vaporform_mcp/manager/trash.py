"""The trash: workspaces that were deleted, for as long as they can be taken out again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import anyio

from vaporform_mcp.care.unfinished import forget_unfinished
from vaporform_mcp.errors import Conflict, NotFound, StoreUnavailable, VaporformError
from vaporform_mcp.locks import HostLock
from vaporform_mcp.sandboxes.base import Provider
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import TRASH_DAYS, WorkspaceName, WorkspaceRecord
from vaporform_mcp.workspace.recording import update_record

__all__ = ["Trash"]

log = logging.getLogger(__name__)

MARK_LIMIT_S = 30.0
DESTROY_LIMIT_S = 20.0
FORGET_LIMIT_S = 10.0
_DAY_S = 86_400.0


class Trash:
    """Whatever goes in, comes out or is forgotten does so under the workspace's host lock, held exclusively."""

    def __init__(self, store: Store, provider: Provider, lock_of: Callable[[str], HostLock]) -> None:
        self._store = store
        self._provider = provider
        self._lock_of = lock_of

    async def put(self, record: WorkspaceRecord, *, destroy: bool) -> WorkspaceRecord:
        """Mark it deleted, for a caller that holds the lock; then destroy its sandbox, if asked to.

        Shielded from cancellation and bounded, so that a caller always learns whether it is in the trash. A sandbox
        that cannot be destroyed now is destroyed when the record is forgotten. Raises `NotFound`, `StoreUnavailable`.
        """
        try:
            with anyio.fail_after(MARK_LIMIT_S, shield=True):
                trashed = await update_record(self._store, record, lambda kept: replace(kept, deleted_at=time.time()))
        except TimeoutError as error:
            raise StoreUnavailable("the store did not confirm the deletion in time", hint="Repeat the call.") from error
        if destroy:
            with anyio.move_on_after(DESTROY_LIMIT_S, shield=True):
                await self._destroy_current(trashed)
        return trashed

    async def take_out(self, owner: str, name: WorkspaceName) -> WorkspaceRecord:
        """The one of that name that was deleted last. Raises `NotFound`, `Conflict` (the name is taken, or a race)."""
        found = [record for record in await self._store.list_workspaces(owner, deleted=True) if record.name == name]
        if not found:
            raise NotFound(f"there is no workspace {name} in the trash", hint="See `vaporform-mcp workspaces`.")
        latest = max(found, key=lambda record: record.deleted_at or 0.0)
        async with self._lock_of(latest.id).exclusive():
            return await self._store.update_workspace(replace(latest, deleted_at=None))

    async def purge(self, owner: str) -> None:
        """Forget what has been in it for longer than `TRASH_DAYS`, and what killed imports have left; what cannot be
        forgotten now waits for the next.
        """
        before = time.time() - TRASH_DAYS * _DAY_S
        with anyio.move_on_after(FORGET_LIMIT_S):
            await forget_unfinished(self._store, owner, now=time.time())
        for record in await self._store.list_workspaces(owner, deleted=True):
            if record.deleted_at is not None and record.deleted_at < before:
                try:
                    with anyio.move_on_after(FORGET_LIMIT_S):
                        await self._forget(record)
                except VaporformError as error:
                    log.warning("the workspace %s stays in the trash for now: %s", record.id, error)

    async def forget_unopened(self, made: WorkspaceRecord) -> None:
        """Forget for good what an opening has just made and what never lived, unless somebody else uses it."""
        try:
            with anyio.move_on_after(FORGET_LIMIT_S):
                async with self._lock_of(made.id).exclusive():
                    if (await self._store.head(made.id)).number == 0:
                        await self._store.delete_workspace(made.id, version=made.version)
                        await self._provider.destroy(made.id, 1)
        except (Conflict, NotFound) as error:
            log.info("left a workspace that could not be opened to others: %s", error)
        except Exception:
            log.exception("left a workspace behind that could not be opened")

    async def _forget(self, record: WorkspaceRecord) -> None:
        async with self._lock_of(record.id).exclusive():
            trashed = await self._store.list_workspaces(record.owner, deleted=True)
            if record not in trashed:
                return  # it was taken out, or forgotten by another server
            # The record goes last: it alone tells which sandboxes there may be.
            head = await self._store.head(record.id)
            for epoch in range(1, head.sandbox_epoch + 1):
                await self._provider.destroy(record.id, epoch)
            await self._store.delete_workspace(record.id, version=record.version)

    async def _destroy_current(self, record: WorkspaceRecord) -> None:
        try:
            head = await self._store.head(record.id)
            await self._provider.destroy(record.id, head.sandbox_epoch)
        except VaporformError as error:
            log.warning("a deleted workspace's sandbox is left until the trash is emptied: %s", error)
        except Exception:
            log.exception("a deleted workspace's sandbox is left until the trash is emptied")
