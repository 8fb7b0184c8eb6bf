"""Files that a person sends: many at once into the sandbox, each whole or not at all; a sync then mirrors them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from vaporform_mcp.errors import Conflict, InvalidArgument, LimitReached, NotFound, PermissionDenied
from vaporform_mcp.locks import HostLock
from vaporform_mcp.sandboxes.base import FileFault, FileStat, FileWrite
from vaporform_mcp.types import Entry, Stat, WorkspacePath
from vaporform_mcp.workspace.lifeline import Lifeline
from vaporform_mcp.workspace.opening import Live

__all__ = ["Receiver"]

_REFUSED = (Conflict, InvalidArgument, NotFound, PermissionDenied)
"""What one file meets, and no other need. A full disk or a lost sandbox ends them all."""


class Receiver:
    """Under the workspace's lock, which other servers share. Answers with the paths that could not be, and why."""

    def __init__(self, lifeline: Lifeline, lock: HostLock) -> None:
        self._lifeline = lifeline
        self._lock = lock

    async def tree(self) -> Mapping[WorkspacePath, Entry]:
        """Every path as the mirror has it."""

        async def copied(live: Live) -> Mapping[WorkspacePath, Entry]:
            return dict(await live.mirror.tree())

        return await self._lifeline.use(copied)

    async def stats(self, paths: Sequence[WorkspacePath]) -> Mapping[WorkspacePath, Stat]:
        """Of what is there."""
        found = await self._lifeline.use(lambda live: live.sandbox.stat_files(paths))
        return {item.path: item.stat for item in found if isinstance(item, FileStat)}

    async def write(self, files: Sequence[FileWrite]) -> Mapping[WorkspacePath, str]:
        """Together at most `MAX_FILE_BATCH_BYTES`. Raises `LimitReached` where the disk is full."""

        async def attempt(live: Live) -> Sequence[FileStat | FileFault]:
            async with self._lock.shared():
                return await live.sandbox.write_files(files)

        faults = [each for each in await self._lifeline.use(attempt) if isinstance(each, FileFault)]
        for fault in faults:
            if isinstance(fault.error, LimitReached):
                raise fault.error
        return {fault.path: fault.error.message for fault in faults}

    async def write_stream(
        self, file: FileWrite, chunks: Callable[[], AsyncIterator[bytes]]
    ) -> Mapping[WorkspacePath, str]:
        """One file of any size, whose content is what `chunks` gives, once for each attempt."""

        async def attempt(live: Live) -> FileStat:
            async with self._lock.shared():
                return await live.sandbox.write_stream(file.path, chunks(), mode=file.mode, expected=file.expected)

        try:
            await self._lifeline.use(attempt)
        except _REFUSED as error:
            return {file.path: error.message}
        return {}

    async def remove(self, paths: Sequence[WorkspacePath]) -> Mapping[WorkspacePath, str]:
        async def attempt(live: Live) -> Sequence[FileFault]:
            async with self._lock.shared():
                return await live.sandbox.remove_files(paths)

        return {fault.path: fault.error.message for fault in await self._lifeline.use(attempt)}
