"""The workspaces of one server: opened once however many ask, listed, put into the trash and taken out again."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.errors import Conflict, Internal, InvalidArgument, NotFound, SandboxUnavailable, VaporformError
from vaporform_mcp.locks import HostLock
from vaporform_mcp.sandboxes.base import OnPhase, Provider, SandboxInfo
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Phase, Spec, WorkspaceName, WorkspaceRecord
from vaporform_mcp.workspace import Workspace
from vaporform_mcp.workspace.importing import check_git
from vaporform_mcp.workspace.results import Opened, Summary

__all__ = ["TRASH_DAYS", "Manager", "OpenRequest", "open_manager"]

log = logging.getLogger(__name__)

TRASH_DAYS = 7
CLOSE_LIMIT_S = 10.0
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """What `open_workspace` may ask of a workspace that is new; asked of an old one, it must agree with it."""

    git_url: str | None = None
    branch: str | None = None
    image: str | None = None
    snapshot: str | None = None
    public: bool | None = None

    def is_plain(self) -> bool:
        return self == OpenRequest()


class _Slot:
    """One workspace of this server, from the moment that somebody asked for it."""

    def __init__(self) -> None:
        self.workspace: Workspace | None = None
        self.ready = False
        self.created = False
        self.phase = Phase.CREATING
        self.percent = 0.0
        self.error: VaporformError | None = None
        self.settled = anyio.Event()


class Manager:
    """Made by `open_manager`. Safe for many callers at once."""

    def __init__(
        self, store: Store, provider: Provider, lock_of: Callable[[str], HostLock], spec: Spec, group: TaskGroup
    ) -> None:
        self._store = store
        self._provider = provider
        self._lock_of = lock_of
        self._spec = spec
        self._group = group
        self._slots: dict[tuple[str, str], _Slot] = {}

    async def open(self, owner: str, name: WorkspaceName, request: OpenRequest, *, wait_s: float) -> Opened:
        """Open or create it, or join in its opening; answers after `wait_s` with how far that is.

        Raises:
            InvalidArgument: the request is malformed.
            Conflict: the workspace exists and was made otherwise.
        """
        if request.branch is not None and request.git_url is None:
            raise InvalidArgument("branch was given without git_url", hint="Give both, or neither.")
        if request.git_url is not None:
            check_git(request.git_url, request.branch)
        slot = self._slot(owner, name, request)
        info: SandboxInfo | None = None
        with anyio.move_on_after(wait_s):
            await slot.settled.wait()
            if slot.ready and slot.workspace is not None:
                info = await slot.workspace.info()
        if slot.error is not None:
            raise slot.error
        if slot.workspace is not None:
            _agree(slot.workspace.record, request)
        return await self._opened(name, slot, info)

    async def workspace(
        self, owner: str, name: WorkspaceName, *, wait_s: float, on_phase: OnPhase | None = None
    ) -> Workspace:
        """The live workspace, created and opened if need be.

        Raises:
            SandboxUnavailable: it is still being prepared after `wait_s`, or cannot be had.
        """
        slot = self._slots.get((owner, name))
        if slot is None or not slot.ready:
            slot = self._slot(owner, name, OpenRequest())
            await self._await_ready(slot, wait_s, on_phase)
        if slot.workspace is None or not slot.ready:
            raise SandboxUnavailable(
                f"the workspace {name} is still being prepared ({slot.phase.value}, {slot.percent:.0f} %)",
                hint="Repeat the same call: it joins the work that is under way.",
            )
        return slot.workspace

    async def list(self, owner: str) -> Sequence[Summary]:
        """The owner's workspaces, latest used first, those in the trash last."""
        await self.purge(owner)
        records = [*await self._store.list_workspaces(owner), *await self._store.list_workspaces(owner, deleted=True)]
        return [await self._summary(record) for record in records]

    async def delete(self, owner: str, name: WorkspaceName) -> Summary:
        """Into the trash: its sandbox is destroyed once its mirror is complete; `undelete` brings it back.

        Raises `NotFound`, `StoreUnavailable` (the mirror could not be completed; nothing is deleted).
        """
        record = await self._store.get_workspace(owner, name)
        if record is None:
            raise NotFound(f"there is no workspace {name}", hint="See list_workspaces.")
        slot = self._slots.pop((owner, name), None)
        if slot is not None and slot.workspace is not None and slot.ready:
            await slot.workspace.sync(made_by="delete_workspace")
            record = slot.workspace.record
            await slot.workspace.aclose()
        async with self._lock_of(record.id).exclusive():
            record = await self._updated(owner, name, lambda found: replace(found, deleted_at=time.time()))
            head = await self._store.head(record.id)
            await self._provider.destroy(record.id, max(head.epoch, 1))
        return await self._summary(record)

    async def undelete(self, owner: str, name: WorkspaceName) -> Summary:
        """Out of the trash: the one of that name that was deleted last.

        Raises `NotFound`, `Conflict` (another workspace has the name now).
        """
        found = [record for record in await self._store.list_workspaces(owner, deleted=True) if record.name == name]
        if not found:
            raise NotFound(f"there is no workspace {name} in the trash", hint="See `vaporform-mcp workspaces`.")
        latest = max(found, key=lambda record: record.deleted_at or 0.0)
        return await self._summary(await self._store.update_workspace(replace(latest, deleted_at=None)))

    async def purge(self, owner: str) -> None:
        """Forget for good what has been in the trash for longer than `TRASH_DAYS`."""
        before = time.time() - TRASH_DAYS * _DAY_S
        for record in await self._store.list_workspaces(owner, deleted=True):
            if record.deleted_at is not None and record.deleted_at < before:
                await self._store.delete_workspace(record.id)

    async def aclose(self) -> None:
        """Run the pending syncs, each within its bound, and let go of the sandboxes."""
        async with anyio.create_task_group() as group:
            for slot in self._slots.values():
                if slot.workspace is not None:
                    group.start_soon(slot.workspace.aclose)
        self._slots.clear()

    def _slot(self, owner: str, name: WorkspaceName, request: OpenRequest) -> _Slot:
        key = (owner, name)
        slot = self._slots.get(key)
        if slot is None or slot.error is not None:
            slot = self._slots[key] = _Slot()
            self._group.start_soon(self._bring_up, key, name, slot, request)
        return slot

    async def _bring_up(self, key: tuple[str, str], name: WorkspaceName, slot: _Slot, request: OpenRequest) -> None:
        """The one opening of a workspace, whoever waits for it and for however long."""

        def on_phase(phase: Phase, percent: float) -> None:
            slot.phase, slot.percent = phase, percent

        try:
            record, slot.created = await self._record(key[0], name, request)
            workspace = Workspace(record, self._store, self._provider, self._lock_of(record.id))
            slot.workspace = workspace
            await workspace.open(on_phase)
            slot.phase, slot.percent, slot.ready = Phase.READY, 100.0, True
            self._group.start_soon(workspace.keep_synced)
        except VaporformError as error:
            slot.error = error
            await self._forget_stillborn(slot)
        except Exception:
            log.exception("opening the workspace %s failed", name)
            slot.error = Internal("opening the workspace failed unexpectedly", hint="The server's log has the details.")
        finally:
            slot.settled.set()

    async def _forget_stillborn(self, slot: _Slot) -> None:
        """A workspace that this opening made and that never lived must not be in the way of a better request."""
        if not slot.created or slot.workspace is None:
            return
        record = slot.workspace.record
        try:
            if (await self._store.head(record.id)).number == 0:
                await self._store.delete_workspace(record.id)
                await self._provider.destroy(record.id, 1)
        except VaporformError as error:
            log.warning("left a workspace behind that could not be opened: %s", error)

    async def _record(self, owner: str, name: WorkspaceName, request: OpenRequest) -> tuple[WorkspaceRecord, bool]:
        now = time.time()
        found = await self._store.get_workspace(owner, name)
        if found is not None:
            _agree(found, request)
            return await self._updated(owner, name, lambda record: replace(record, last_used_at=now)), False
        spec = replace(
            self._spec,
            image=request.image,
            snapshot=request.snapshot,
            public=request.public,
            git_url=request.git_url,
            git_branch=request.branch,
        )
        record = WorkspaceRecord(
            id=uuid.uuid4().hex[:16], owner=owner, name=name, spec=spec, created_at=now, last_used_at=now
        )
        try:
            return await self._store.create_workspace(record), True
        except Conflict:
            found = await self._store.get_workspace(owner, name)  # another server was quicker
            if found is None:
                raise
            return found, False

    async def _updated(
        self, owner: str, name: WorkspaceName, change: Callable[[WorkspaceRecord], WorkspaceRecord]
    ) -> WorkspaceRecord:
        for _ in range(10):
            record = await self._store.get_workspace(owner, name)
            if record is None:
                break
            try:
                return await self._store.update_workspace(change(record))
            except Conflict:
                continue
        raise NotFound(f"the workspace {name} was deleted meanwhile", hint="Open it again to make a new one.")

    async def _await_ready(self, slot: _Slot, wait_s: float, on_phase: OnPhase | None) -> None:
        with anyio.move_on_after(wait_s):
            while not slot.settled.is_set():
                with anyio.move_on_after(1.0):
                    await slot.settled.wait()
                if on_phase is not None:
                    on_phase(slot.phase, slot.percent)
        if slot.error is not None:
            raise slot.error

    async def _opened(self, name: WorkspaceName, slot: _Slot, info: SandboxInfo | None) -> Opened:
        record = slot.workspace.record if slot.workspace is not None else None
        revision = (await self._store.head(record.id)).number if record is not None else 0
        files = (await self._store.count(record.id)).files if record is not None else 0
        return Opened(
            name=name,
            created=slot.created,
            state="ready" if slot.ready else "preparing",
            phase=slot.phase,
            percent=slot.percent,
            isolation=info.isolation if info is not None else None,
            gaps=info.gaps if info is not None else (),
            network=info.network if info is not None else None,
            toolchains=info.toolchains if info is not None else {},
            revision=revision,
            files=files,
            commands=record.commands if record is not None else (),
            error=None,
        )

    async def _summary(self, record: WorkspaceRecord) -> Summary:
        head = await self._store.head(record.id)
        count = await self._store.count(record.id)
        slot = self._slots.get((record.owner, record.name))
        is_open = slot is not None and slot.ready
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
    store: Store, provider: Provider, lock_of: Callable[[str], HostLock], spec: Spec
) -> AsyncGenerator[Manager]:
    """A manager whose background work ends, bounded, with the context. `lock_of` gives a workspace id's host lock."""
    async with anyio.create_task_group() as group:
        manager = Manager(store, provider, lock_of, spec, group)
        try:
            yield manager
        finally:
            with anyio.move_on_after(CLOSE_LIMIT_S, shield=True) as scope:
                await manager.aclose()
            if scope.cancelled_caught:
                log.warning("gave up closing the workspaces after %s s", CLOSE_LIMIT_S)
            group.cancel_scope.cancel()


def _agree(record: WorkspaceRecord, request: OpenRequest) -> None:
    """Raises `Conflict` where the workspace that exists is not the one asked for."""
    spec = record.spec
    asked = {
        "git_url": (request.git_url, spec.git_url),
        "branch": (request.branch, spec.git_branch),
        "image": (request.image, spec.image),
        "snapshot": (request.snapshot, spec.snapshot),
    }
    for field, (wanted, has) in asked.items():
        if wanted is not None and wanted != has:
            raise Conflict(
                f"the workspace {record.name} exists already, with another {field}",
                hint="Open it without that argument, or choose a new name.",
            )
