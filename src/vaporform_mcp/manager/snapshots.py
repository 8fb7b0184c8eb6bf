"""Snapshots: workspaces' sandboxes saved under names, of which new workspaces are opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from vaporform_mcp.sandboxes.base import Provider
from vaporform_mcp.sandboxes.snapshots import Snapshot
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import WorkspaceName
from vaporform_mcp.workspace import Workspace

__all__ = ["ListedSnapshot", "Shelf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSnapshot:
    """`workspace` is the one of the owner's that it was saved from, where that is known."""

    snapshot: Snapshot
    workspace: WorkspaceName | None


class Shelf:
    """`opened` gives the live workspace of an owner and name, within a time. Raises `NotSupported` where there are none
    at the provider.
    """

    def __init__(
        self, store: Store, provider: Provider, opened: Callable[[str, WorkspaceName, float], Awaitable[Workspace]]
    ) -> None:
        self._store = store
        self._provider = provider
        self._opened = opened

    def check_name(self, snapshot: str) -> None:
        """Raises `InvalidArgument` for what no new snapshot can be called."""
        self._provider.snapshots.check_name(snapshot)

    async def save(self, owner: str, name: WorkspaceName, snapshot: str, *, wait_s: float) -> Snapshot:
        """Save the workspace's sandbox under the name; one that is not done after `wait_s` is joined by repeating it.

        Raises what `Snapshots.save` and the opening of the workspace raise; nothing is opened for a bad name.
        """
        deadline = anyio.current_time() + wait_s
        self.check_name(snapshot)
        workspace = await self._opened(owner, name, wait_s)
        return await workspace.snapshot(snapshot, wait_s=max(0.0, deadline - anyio.current_time()))

    async def list(self, owner: str) -> Sequence[ListedSnapshot]:
        found = await self._provider.snapshots.list()
        names = await self._names(owner) if any(each.workspace_id for each in found) else {}
        return [ListedSnapshot(snapshot=each, workspace=names.get(each.workspace_id or "")) for each in found]

    async def find(self, owner: str, snapshot: str) -> ListedSnapshot:
        """Raises `NotFound`, which names the nearest."""
        found = await self._provider.snapshots.find(snapshot)
        names = await self._names(owner) if found.workspace_id else {}
        return ListedSnapshot(snapshot=found, workspace=names.get(found.workspace_id or ""))

    async def delete(self, snapshot: str, *, wait_s: float) -> bool:
        """Whether it is gone; else it is being removed. Raises `NotFound`, `NotSupported` (the provider's own)."""
        return await self._provider.snapshots.delete(snapshot, wait_s=wait_s)

    async def _names(self, owner: str) -> dict[str, WorkspaceName]:
        return {record.id: record.name for record in await self._store.list_workspaces(owner)}
