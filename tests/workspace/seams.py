"""The real store and the real provider, whose calls a test may hold or fail at a moment of its choice."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from vaporform_mcp.exclusions import MirrorRules
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import Manager, open_manager
from vaporform_mcp.sandboxes.base import OnPhase, Provider, ProviderInfo, Sandbox
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.sandboxes.snapshots import Snapshots
from vaporform_mcp.stores.base import Blob
from vaporform_mcp.stores.sqlite import SqliteStore
from vaporform_mcp.stores.sqlite.connections import Connections
from vaporform_mcp.types import Change, Digest, Entry, Head, Revision, Spec, TreeCount, WorkspacePath, WorkspaceRecord

Hook = Callable[[], Awaitable[None]]


class Gate:
    """A hook that tells when a call got there, and holds it until the test opens."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.opened = anyio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.opened.wait()


class SeamStore(SqliteStore):
    """`before` and `after` are called around the methods of that name; "append to ID" is of one workspace alone."""

    def __init__(self, path: Path) -> None:
        super().__init__(Connections(path, 5.0), time.time)
        self.before: dict[str, Hook] = {}
        self.after: dict[str, Hook] = {}

    async def create_workspace(self, record: WorkspaceRecord) -> WorkspaceRecord:
        await _call(self.before, "create_workspace")
        created = await super().create_workspace(record)
        await _call(self.after, "create_workspace")
        return created

    async def list_workspaces(self, owner: str, *, deleted: bool = False) -> Sequence[WorkspaceRecord]:
        found = await super().list_workspaces(owner, deleted=deleted)
        await _call(self.after, "list_workspaces")
        return found

    async def update_workspace(self, record: WorkspaceRecord) -> WorkspaceRecord:
        await _call(self.before, "update_workspace")
        return await super().update_workspace(record)

    async def tree(self, workspace_id: str, at: int | None = None) -> Mapping[WorkspacePath, Entry]:
        await _call(self.before, "tree")
        return await super().tree(workspace_id, at)

    async def head(self, workspace_id: str) -> Head:
        await _call(self.before, "head")
        return await super().head(workspace_id)

    async def count(self, workspace_id: str) -> TreeCount:
        await _call(self.before, "count")
        return await super().count(workspace_id)

    async def put_blobs(self, blobs: Sequence[Blob]) -> None:
        await _call(self.before, "put_blobs")
        await super().put_blobs(blobs)

    async def get_blobs(self, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
        await _call(self.before, "get_blobs")
        return await super().get_blobs(digests)

    async def missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        await _call(self.before, "missing")
        return await super().missing(digests)

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
        await _call(self.before, "append")
        await _call(self.before, f"append to {workspace_id}")
        return await super().append(
            workspace_id,
            parent=parent,
            revision_id=revision_id,
            epoch=epoch,
            changes=changes,
            made_by=made_by,
            label=label,
        )


class SeamProvider:
    """See `SeamStore`."""

    def __init__(self, inner: Provider) -> None:
        self._inner = inner
        self.before: dict[str, Hook] = {}

    @property
    def name(self) -> str:
        return self._inner.name

    async def acquire(self, spec: Spec, workspace_id: str, epoch: int, on_phase: OnPhase) -> Sandbox:
        await _call(self.before, "acquire")
        return await self._inner.acquire(spec, workspace_id, epoch, on_phase)

    async def find(self, spec: Spec, workspace_id: str, epoch: int, on_phase: OnPhase) -> Sandbox | None:
        await _call(self.before, "acquire")  # whichever way it is to be had
        return await self._inner.find(spec, workspace_id, epoch, on_phase)

    async def destroy(self, workspace_id: str, epoch: int) -> None:
        await _call(self.before, "destroy")
        await self._inner.destroy(workspace_id, epoch)

    @property
    def snapshots(self) -> Snapshots:
        return self._inner.snapshots

    async def describe(self) -> ProviderInfo:
        return await self._inner.describe()

    async def aclose(self) -> None:
        await self._inner.aclose()


class SeamServer:
    """What one server process has, but for the protocol."""

    def __init__(self, manager: Manager, provider: SeamProvider, store: SeamStore, data: Path) -> None:
        self.manager = manager
        self.provider = provider
        self.store = store
        self.data = data

    def sandboxes(self) -> Collection[str]:
        """The epochs of the sandboxes that there are, of whatever workspace."""
        folders = (self.data / "sandboxes").glob("*-*")
        return sorted(each.name.rpartition("-")[2] for each in folders if not each.name.startswith("."))


@asynccontextmanager
async def seam_server(
    data: Path, *, lock_limit_s: float = 30.0, isolation: Level = "namespaces", rules: MirrorRules | None = None
) -> AsyncGenerator[SeamServer]:
    environment: Mapping[str, str] = dict(os.environ)
    config = LocalConfig(
        data_dir=data,
        network="none",
        isolation=isolation,
        linger_s=2.0,
        toolchains=("none",),
        host_environment=environment,
    )
    store = SeamStore(data / "vaporform.sqlite3")
    try:
        async with open_local(config) as local:
            provider = SeamProvider(local)
            async with open_manager(
                store,
                provider,
                lambda name: HostLock(data / "locks" / name, limit_s=lock_limit_s),
                Spec(provider="local"),
                rules,
            ) as manager:
                yield SeamServer(manager, provider, store, data)
    finally:
        await store.aclose()


async def _call(hooks: Mapping[str, Hook], name: str) -> None:
    if hook := hooks.get(name):
        await hook()
