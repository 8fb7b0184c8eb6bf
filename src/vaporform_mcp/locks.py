"""Who may touch what at the same time: locks of a path in this process, of a workspace or a folder on this host."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio

from vaporform_mcp.errors import Conflict
from vaporform_mcp.types import WorkspacePath

__all__ = ["HostLock", "PathLocks", "held_folder"]

_BUSY = {errno.EAGAIN, errno.EACCES}


@contextmanager
def held_folder(folder: Path) -> Generator[None]:
    """A folder that somebody works in. The kernel lets go of it when its holder dies (flock(2)), so that what was left
    can be told from what goes on.

    Raises:
        BlockingIOError: somebody has it.
        OSError: as the system does.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


class PathLocks:
    """One lock per path, kept only while somebody holds or awaits it. Holds: a write and its mirror are one step."""

    def __init__(self) -> None:
        self._locks: dict[WorkspacePath, tuple[anyio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, path: WorkspacePath) -> AsyncGenerator[None]:
        lock, users = self._locks.get(path, (anyio.Lock(), 0))
        self._locks[path] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[path]
            if users == 1:
                del self._locks[path]
            else:
                self._locks[path] = (lock, users - 1)


class HostLock:
    """A lock file that the servers of one host share for one workspace.

    Shared for writes and syncs, exclusive for whatever replaces the sandbox: restore, heal, delete. The kernel lets
    go of it when its holder dies (flock(2)).
    """

    def __init__(self, file: Path, *, limit_s: float = 30.0) -> None:
        self._file = file
        self._limit_s = limit_s

    @asynccontextmanager
    async def shared(self) -> AsyncGenerator[None]:
        """Raises `Conflict` when somebody replaces the sandbox for longer than the limit."""
        fd = await self._lock(fcntl.LOCK_SH)
        try:
            yield
        finally:
            os.close(fd)

    @asynccontextmanager
    async def exclusive(self) -> AsyncGenerator[None]:
        """Raises `Conflict` when others keep it for longer than the limit."""
        fd = await self._lock(fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(fd)

    async def _lock(self, how: int) -> int:
        # An open file description of its own for every holder: flock would let two in one process share one.
        fd = self._open()
        pause_s = 0.001
        try:
            with anyio.fail_after(self._limit_s):
                while True:
                    try:
                        fcntl.flock(fd, how | fcntl.LOCK_NB)
                    except OSError as error:
                        if error.errno not in _BUSY:
                            raise
                    else:
                        return fd
                    await anyio.sleep(pause_s)
                    pause_s = min(pause_s * 2, 0.05)
        except TimeoutError as error:
            os.close(fd)
            raise Conflict(
                "the workspace is being replaced by another server of this machine",
                hint="Repeat the call; if this persists, `vaporform-mcp ps` shows who uses the workspace.",
            ) from error
        except BaseException:
            os.close(fd)
            raise

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._file, flags, 0o600)
        except FileNotFoundError:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self._file, flags, 0o600)
