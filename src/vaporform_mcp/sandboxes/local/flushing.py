"""Many files onto the disk at once, from outside of the sandbox: its supervisor has others to serve meanwhile."""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path

import anyio
import anyio.to_thread

__all__ = ["flush_files"]

log = logging.getLogger(__name__)

FLUSH_S = 20.0
"""Longer, and the disk has so much to do for others that nobody should wait for it."""


async def flush_files(folder: Path) -> None:
    """Have everything on the file system of `folder` on its disk, or give up, with a warning.

    Given up, what was written is as safe as after any program's write: only a loss of power can take it back.
    """
    with anyio.move_on_after(FLUSH_S) as scope:
        await anyio.to_thread.run_sync(_flush, folder, abandon_on_cancel=True)
    if scope.cancelled_caught:
        log.warning("the sandbox's files were not on the disk after %s s", FLUSH_S)


def _flush(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        log.warning("the sandbox's files could not be flushed: %s", error)
        return
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            log.warning("the sandbox's files could not be flushed: %s", os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)
