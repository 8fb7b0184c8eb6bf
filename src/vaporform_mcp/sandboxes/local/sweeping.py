"""Ending what a restricted sandbox has left behind: without a namespace, its supervisor's end need not be theirs.

Its guard and its keepers end everything below them when they lose the supervisor. What got away from them still has
the sandbox's tag in its environment or, where commands have a user of their own, that user.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from pathlib import Path

import anyio

from vaporform_mcp.sandboxes.local import ending, identity, layout
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.processes import HostProcess, running

__all__ = ["TAG", "sweep", "tag_of"]

log = logging.getLogger(__name__)

TAG = "SANDBOX_TAG"
"""The variable in the environment of everything in such a sandbox that tells which one it is of."""

SWEEP_S = 5.0
_PAUSE_S = 0.01


def tag_of(folder: Folder) -> str:
    """The same for every start, so that whoever starts it anew finds what an earlier one left behind."""
    return hashlib.sha256(os.fsencode(folder.root)).hexdigest()[:16]


async def sweep(folder: Folder) -> None:
    """Kill what is left of the sandbox. Only under its folder's lock, while no supervisor of it lives."""
    if not folder.tools.exists():  # it never was a restricted one
        return
    with anyio.move_on_after(SWEEP_S):
        while await anyio.to_thread.run_sync(_kill_all, folder):  # noqa: ASYNC110  # the kernel tells nobody
            await anyio.sleep(_PAUSE_S)
        return
    log.warning("processes of the sandbox %s do not end", folder.root.name)


def _kill_all(folder: Folder) -> int:
    """How many there were."""
    processes = running()
    count = 0
    for pid in processes:
        with suppress(OSError):
            held = os.pidfd_open(pid)
            try:
                # Looked at once it is held: before, the number could still pass on.
                if _is_tagged(pid, folder) or _is_of_its_user(pid, processes, folder):
                    signal.pidfd_send_signal(held, signal.SIGKILL)
                    count += 1
            finally:
                os.close(held)
    return count


def _is_tagged(pid: int, folder: Folder) -> bool:
    """Of a supervisor or keeper, which nobody may look into, only the command line can be read."""
    tag = tag_of(folder).encode()
    return TAG.encode() + b"=" + tag in _words(pid, "environ") or _words(pid, "cmdline")[-2:] == [tag, b""]


def _words(pid: int, name: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().split(b"\0")
    except OSError:
        return []


def _is_of_its_user(pid: int, processes: Mapping[int, HostProcess], folder: Folder) -> bool:
    owner = os.lstat(folder.files).st_uid
    if os.geteuid() != 0 or processes[pid].uid != owner or not identity.is_dedicated(owner):
        return False
    # Another sandbox of the workspace has the same user, and whatever runs in it has its supervisor above it.
    return not set(_line(pid, processes)) & _supervisors(folder)


def _line(pid: int, processes: Mapping[int, HostProcess]) -> Iterator[int]:
    """The process and those above it."""
    while pid in processes and pid > 1:
        yield pid
        pid = processes[pid].parent


def _supervisors(folder: Folder) -> Set[int]:
    others = (one for one in layout.folders(folder.root.parent.parent) if one.root != folder.root)
    return {pid for one in others if (pid := ending.noted_pid(one)) is not None}
