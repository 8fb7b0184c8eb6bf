"""A live workspace, as what a person's folder is pushed into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from vaporform_mcp.sandboxes.base import FileWrite
from vaporform_mcp.transfer.pushing import Target
from vaporform_mcp.types import Entry, Stat, WorkspacePath
from vaporform_mcp.workspace.core import Workspace

__all__ = ["LiveTarget"]


class LiveTarget:
    """See `Target`. `problems` are what the last sync left out of the mirror, and why."""

    def __init__(self, workspace: Workspace, made_by: str) -> None:
        self._workspace = workspace
        self._receiver = workspace.receiver
        self._made_by = made_by
        self._has_written = False
        self.problems: Sequence[str] = ()

    async def synced(self) -> Mapping[WorkspacePath, Entry]:
        made_by = self._made_by if self._has_written else f"{self._made_by} (before it)"
        self.problems = (await self._workspace.sync(made_by=made_by)).problems
        return await self._receiver.tree()

    async def stats(self, paths: Sequence[WorkspacePath]) -> Mapping[WorkspacePath, Stat]:
        return await self._receiver.stats(paths)

    async def write(self, files: Sequence[FileWrite]) -> Mapping[WorkspacePath, str]:
        self._has_written = True
        return await self._receiver.write(files)

    async def write_stream(
        self, file: FileWrite, chunks: Callable[[], AsyncIterator[bytes]]
    ) -> Mapping[WorkspacePath, str]:
        self._has_written = True
        return await self._receiver.write_stream(file, chunks)

    async def remove(self, paths: Sequence[WorkspacePath]) -> Mapping[WorkspacePath, str]:
        self._has_written = True
        return await self._receiver.remove(paths)


_conforms: type[Target] = LiveTarget
