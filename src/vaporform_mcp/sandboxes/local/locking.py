"""The lock of a sandbox's folder: whoever starts, ends or removes the sandbox holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.diskfaults import disk_faults
from vaporform_mcp.sandboxes.local.layout import Folder

__all__ = ["locked"]

LOCK_S = 60.0
_POLL_S = 0.01


@asynccontextmanager
async def locked(folder: Folder) -> AsyncGenerator[None]:
    """Hold the lock. The folder is made where it is missing.

    Raises:
        SandboxUnavailable: another server holds the lock for too long.
    """
    descriptor = await _wait(folder)
    try:
        yield
    finally:
        os.close(descriptor)


async def _wait(folder: Folder) -> int:
    with anyio.move_on_after(LOCK_S):
        while True:
            with disk_faults("the sandbox's folder cannot be locked"):
                descriptor = _try(folder)
            if descriptor is not None:
                return descriptor
            # Polled: waiting in the kernel would hold a thread for as long, and could not be given up.
            await anyio.sleep(_POLL_S)
    raise SandboxUnavailable(
        "another server is starting or ending this workspace's sandbox and does not finish",
        hint="Repeat the call in a minute; if it goes on, restart the other server.",
    )


def _try(folder: Folder) -> int | None:
    layout.make_lockable(folder)
    try:
        descriptor = os.open(folder.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:  # removed in between
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed the folder, and this file with it.
        if os.path.samestat(os.fstat(descriptor), folder.lock.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
