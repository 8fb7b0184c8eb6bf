"""The manager: each workspace is opened once, however many ask, and closed or deleted once."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.background import background
from vaporform_mcp.credentials import Credentials
from vaporform_mcp.errors import Internal, NotFound, SandboxUnavailable, StoreUnavailable, VaporformError
from vaporform_mcp.exclusions import MirrorRules
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager.archive import Archive
from vaporform_mcp.manager.records import Records
from vaporform_mcp.manager.requests import OpenRequest, agree
from vaporform_mcp.manager.slots import Slot
from vaporform_mcp.manager.snapshots import Shelf
from vaporform_mcp.manager.trash import Trash
from vaporform_mcp.sandboxes.base import OnPhase, Provider, SandboxInfo
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.records import not_there
from vaporform_mcp.types import Phase, Spec, WorkspaceName, WorkspaceRecord
from vaporform_mcp.workspace import Workspace
from vaporform_mcp.workspace.results import Opened, Summary

__all__ = ["Manager", "open_manager"]

log = logging.getLogger(__name__)

CLOSE_LIMIT_S = 10.0
TELL_S = 0.5
"""How often whoever waits for an opening is told of its phase."""

DELETE_WAIT_S = 45.0
"""How long a deletion waits for the opening that it needs, or joins in; the next one joins in again."""

_Key = tuple[str, WorkspaceName]


class Manager:
    """Made by `open_manager`. Safe for many callers at once."""

    def __init__(
        self,
        store: Store,
        provider: Provider,
        lock_of: Callable[[str], HostLock],
        spec: Spec,
        rules: MirrorRules,
        credentials: Credentials,
        group: TaskGroup,
    ) -> None:
        self._store = store
        self._provider = provider
        self._lock_of = lock_of
        self._rules = rules
        self._credentials = credentials
        self._group = group
        self._records = Records(store, spec)
        self._trash = Trash(store, provider, lock_of)
        self.archive = Archive(store)
        self.snapshots = Shelf(store, provider, lambda owner, name, wait_s: self.workspace(owner, name, wait_s=wait_s))
        # Nothing is awaited between a look into it and what is done about it, so one name has one slot.
        self._slots: dict[_Key, Slot] = {}

    async def open(
        self,
        owner: str,
        name: WorkspaceName,
        request: OpenRequest,
        *,
        wait_s: float,
        on_phase: OnPhase | None = None,
    ) -> Opened:
        """Open or create it, or join in its opening; answers after `wait_s` with how far that is.

        A workspace of that name that another server has deleted is let go of first. What was imported is mirrored
        before it is answered, where there is time.

        Raises:
            InvalidArgument: the request is malformed.
            NotFound: it was open, and the store no longer has it, not even in the trash.
            Conflict: the workspace exists and was made otherwise.
        """
        request.check()
        deadline = anyio.current_time() + wait_s
        slot = await self._slot((owner, name), request, deadline)
        if not await self._is_kept(slot):
            await self._drop((owner, name), slot)
            slot = await self._slot((owner, name), request, deadline)
        info: SandboxInfo | None = None
        with anyio.CancelScope(deadline=deadline):
            await self._await_settled(slot, on_phase)
            if slot.ready and slot.workspace is not None:
                info = await slot.workspace.info()
                await self._mirror_import(slot, slot.workspace)
        if slot.error is not None:
            raise slot.error
        if slot.workspace is not None:
            agree(slot.workspace.record, request)
        return await self._opened(slot, info)

    async def workspace(
        self, owner: str, name: WorkspaceName, *, wait_s: float, on_phase: OnPhase | None = None
    ) -> Workspace:
        """The live workspace, created and opened if need be.

        Raises:
            SandboxUnavailable: it is still being prepared, or being deleted, after `wait_s`, or cannot be had.
        """
        deadline = anyio.current_time() + wait_s
        while True:
            slot = self._slots.get((owner, name))
            if slot is not None and slot.live is not None:
                return slot.live
            slot = await self._slot((owner, name), OpenRequest(), deadline)
            await self._await_ready(slot, deadline, on_phase)

    async def list(self, owner: str) -> Sequence[Summary]:
        """The owner's workspaces, latest used first, those in the trash last; what is due there is forgotten first."""
        await self._trash.purge(owner)
        records = [*await self._store.list_workspaces(owner), *await self._store.list_workspaces(owner, deleted=True)]
        return [await self._summary(record) for record in records]

    async def delete(self, owner: str, name: WorkspaceName) -> Summary:
        """Into the trash; `undelete` brings it back. Its sandbox is destroyed once its mirror is complete, for which
        the workspace is opened if need be. One that cannot be opened keeps its sandbox for as long as it is there.

        Raises `NotFound`. Nothing is deleted where it raises `StoreUnavailable`, `SandboxUnavailable` or `Conflict`:
        the mirror could not be completed for now.
        """
        slot, record = await self._claim((owner, name))
        try:
            trashed = await self._put_away(slot, record)
            with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
                await slot.aclose()
            self._slots.pop((owner, name), None)
        finally:
            slot.end_leaving()
        return await self._summary(trashed)

    async def undelete(self, owner: str, name: WorkspaceName) -> Summary:
        """Out of the trash: the one of that name that was deleted last.

        Raises `NotFound`, `Conflict` (another workspace has the name now).
        """
        return await self._summary(await self._trash.take_out(owner, name))

    async def aclose(self) -> None:
        """Run the pending syncs, each within its bound, and let go of the sandboxes."""
        async with anyio.create_task_group() as group:
            for slot in self._slots.values():
                group.start_soon(slot.aclose)
        self._slots.clear()

    # -----------------------------------------------------------------------------------------------------------

    async def _slot(self, key: _Key, request: OpenRequest | None, deadline: float) -> Slot:
        """The slot of that name, once nobody deletes it; a new one where there is none or its opening failed.

        Without a request, only a workspace that exists is opened. Raises `SandboxUnavailable` at the deadline.
        """
        while (slot := self._slots.get(key)) is not None and slot.leaving is not None:
            with anyio.CancelScope(deadline=deadline) as scope:
                await slot.leaving.wait()
            if scope.cancelled_caught:
                raise SandboxUnavailable(f"the workspace {key[1]} is being deleted", hint="Repeat the call.")
        if slot is None or slot.error is not None:
            slot = self._slots[key] = Slot(key[1])
            self._group.start_soon(self._bring_up, key, slot, request)
        return slot

    async def _bring_up(self, key: _Key, slot: Slot, request: OpenRequest | None) -> None:
        """The one opening of a workspace, whoever waits for it and for however long."""
        made: WorkspaceRecord | None = None
        try:
            try:
                record, slot.created = await self._records.find_or_make(*key, request)
                made = record if slot.created else None
                slot.workspace = Workspace(
                    record, self._store, self._provider, self._lock_of(record.id), self._rules, self._credentials
                )
                await slot.workspace.open(slot.tell)
                slot.tell(Phase.READY, 100.0)
                slot.ready = True
                self._group.start_soon(slot.keep_synced)
            except VaporformError as error:
                slot.error = error
            except Exception:
                log.exception("opening the workspace %s failed", slot.name)
                slot.error = Internal(
                    "opening the workspace failed unexpectedly", hint="The server's log has the details."
                )
            if slot.error is not None and made is not None:
                # It must not be in the way of a better request.
                await self._trash.forget_unopened(made)
        finally:
            slot.settled.set()

    async def _await_ready(self, slot: Slot, deadline: float, on_phase: OnPhase | None) -> None:
        """Raises what the opening failed with, or `SandboxUnavailable` at the deadline."""
        with anyio.CancelScope(deadline=deadline):
            await self._await_settled(slot, on_phase)
        if slot.error is not None:
            raise slot.error
        if not slot.ready:
            raise slot.unprepared()

    async def _await_settled(self, slot: Slot, on_phase: OnPhase | None) -> None:
        while not slot.settled.is_set():
            if on_phase is not None:
                on_phase(slot.phase, slot.percent)
            with anyio.move_on_after(TELL_S):
                await slot.settled.wait()

    async def _mirror_import(self, slot: Slot, workspace: Workspace) -> None:
        """So that what is said of a workspace that was just imported is true of its mirror as well."""
        if slot.created and workspace.record.spec.git_url is not None and workspace.mirror_state().revision == 0:
            try:
                await workspace.sync(made_by="open_workspace")
            except VaporformError as error:
                log.info("the import of %s is mirrored later: %s", slot.name, error)

    async def _is_kept(self, slot: Slot) -> bool:
        """False only if the store tells that the slot's workspace was deleted since it was opened.

        Raises `NotFound` where it is not in the trash either: a store that lost it is not taken for an empty one.
        """
        if slot.live is None:
            return True
        record = slot.live.record
        try:
            kept = await self._store.get_workspace(record.owner, record.name)
            if kept is not None and kept.id == record.id:
                return True
            trashed = await self._store.list_workspaces(record.owner, deleted=True)
        except StoreUnavailable:
            return True
        if any(each.id == record.id for each in trashed):
            return False
        raise not_there()

    async def _drop(self, key: _Key, slot: Slot) -> None:
        if self._slots.get(key) is slot:
            del self._slots[key]
        await slot.aclose()

    async def _claim(self, key: _Key) -> tuple[Slot, WorkspaceRecord]:
        """The slot, whose opening has ended, marked as leaving: until it stays or is gone, nobody else gets it."""
        deadline = anyio.current_time() + DELETE_WAIT_S
        while True:
            record = await self._store.get_workspace(*key)
            if record is None:
                raise NotFound(f"there is no workspace {key[1]}", hint="See list_workspaces.")
            slot = await self._slot(key, None, deadline)
            with anyio.CancelScope(deadline=deadline):
                await slot.settled.wait()
            if not slot.settled.is_set():
                raise slot.unprepared()
            if self._slots.get(key) is not slot or slot.leaving is not None:
                continue
            if slot.live is not None and slot.live.record.id != record.id:
                await self._drop(key, slot)
                continue
            slot.leaving = anyio.Event()
            return slot, record

    async def _put_away(self, slot: Slot, record: WorkspaceRecord) -> WorkspaceRecord:
        workspace = slot.workspace if slot.ready else None
        if workspace is not None:
            await workspace.sync(made_by="delete_workspace")  # most of it, while other servers may go on
        elif slot.error is not None and slot.error.retryable and (await self._store.head(record.id)).number > 0:
            raise slot.error
        async with self._lock_of(record.id).exclusive():
            if workspace is not None:
                await workspace.sync_locked("delete_workspace")
            return await self._trash.put(record, destroy=workspace is not None)

    async def _opened(self, slot: Slot, info: SandboxInfo | None) -> Opened:
        record, revision = None, 0
        if slot.workspace is not None:
            record = slot.workspace.record
            revision = await self._count(slot, slot.workspace)
        return Opened(
            name=slot.name,
            created=slot.created,
            state="ready" if slot.ready else "preparing",
            phase=slot.phase,
            percent=slot.percent,
            isolation=info.isolation if info is not None else None,
            gaps=info.gaps if info is not None else (),
            network=info.network if info is not None else None,
            toolchains=info.toolchains if info is not None else {},
            revision=revision,
            files=slot.files,
            commands=record.commands if record is not None else (),
            isolation_reason=info.reason if info is not None else "",
        )

    async def _count(self, slot: Slot, workspace: Workspace) -> int:
        """The mirror's revision, its files counted; as last known while the store cannot be asked."""
        try:
            slot.files = (await self._store.count(workspace.record.id)).files
            return (await self._store.head(workspace.record.id)).number
        except StoreUnavailable as error:
            log.info("a workspace is opened without its store: %s", error)
            return workspace.mirror_state().revision

    async def _summary(self, record: WorkspaceRecord) -> Summary:
        head = await self._store.head(record.id)
        count = await self._store.count(record.id)
        slot = self._slots.get((record.owner, record.name))
        is_open = slot is not None and slot.live is not None and slot.live.record.id == record.id
        return Summary(
            name=record.name,
            state="deleted" if record.deleted_at is not None else "open" if is_open else "closed",
            revision=head.number,
            files=count.files,
            size=count.size_bytes,
            last_used=record.last_used_at,
        )


@asynccontextmanager
async def open_manager(
    store: Store,
    provider: Provider,
    lock_of: Callable[[str], HostLock],
    spec: Spec,
    rules: MirrorRules | None = None,
    credentials: Credentials | None = None,
) -> AsyncGenerator[Manager]:
    """A manager whose background work ends, bounded, with the context. `lock_of` gives a workspace id's host lock."""
    async with background() as group:
        manager = Manager(store, provider, lock_of, spec, rules or MirrorRules(), credentials or Credentials(), group)
        try:
            yield manager
        finally:
            with anyio.move_on_after(CLOSE_LIMIT_S, shield=True) as scope:
                await manager.aclose()
            if scope.cancelled_caught:
                log.warning("gave up closing the workspaces after %s s", CLOSE_LIMIT_S)
