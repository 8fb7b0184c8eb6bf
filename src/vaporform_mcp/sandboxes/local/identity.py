"""Which user commands run as on the host: never its root, whoever runs the server."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.processes import running

__all__ = ["choose", "command_uid", "is_dedicated", "processes_of"]

_PREFERRED = (2_000_000_000, 2_000_999_999)
"""Above every range that distributions give out, so that nobody else's files have such an owner."""

_FALLBACK = (30_000, 59_999)
"""Within the 65,536 users that a container usually has, above those that are usually given out."""


def choose(folder: Folder) -> int | None:
    """The uid for a workspace's commands; None where the server's own user will do.

    Files that are there already keep their owner, so that nothing of a user's tree need change hands. A workspace that
    another data folder has too, as after an import, has another user there: when a sandbox ends, so does all that its
    user runs.
    """
    maps = [_ranges(Path(f"/proc/self/{name}").read_text("ascii")) for name in ("uid_map", "gid_map")]
    try:
        owner = os.lstat(folder.files).st_uid
    except FileNotFoundError:
        owner = 0
    return command_uid(f"{folder.workspace_id} {folder.root.parent}", os.geteuid(), owner, maps)


def command_uid(whose: str, euid: int, owner: int, maps: list[list[tuple[int, int, int]]]) -> int | None:
    """As `choose`, of what it looked up. `maps` are the users and groups of our namespace: first, outside, count.

    Raises:
        SandboxUnavailable: commands could only run as the host's root.
    """
    if euid != 0 and _outside(maps[0], euid) != 0:
        return None
    if euid == 0:
        if owner != 0 and all(_inside(known, owner) for known in maps):
            return owner
        number = int.from_bytes(hashlib.sha256(os.fsencode(whose)).digest()[:8], "big")
        for first, last in (_PREFERRED, _FALLBACK):
            if all(_inside(known, first) and _inside(known, last) for known in maps):
                return first + number % (last - first + 1)
        if _outside(maps[0], 0) != 0:
            return None
    raise SandboxUnavailable(
        "this server runs as root, and no other user is to be had for the commands it would run",
        hint="Run the server as an ordinary user, or give its container a range of at least 65,536 users.",
    )


def is_dedicated(uid: int) -> bool:
    """Whether it is one that we give to commands, so that nobody else's processes should have it."""
    return any(first <= uid <= last for first, last in (_PREFERRED, _FALLBACK))


def processes_of(uid: int) -> int:
    """How many processes and threads of this user run, as the kernel counts them for a limit."""
    return sum(one.threads for one in running().values() if one.uid == uid)


def _ranges(text: str) -> list[tuple[int, int, int]]:
    rows = [line.split() for line in text.splitlines()]
    return [(int(first), int(outside), int(count)) for first, outside, count in rows]


def _inside(ranges: list[tuple[int, int, int]], number: int) -> bool:
    return any(first <= number < first + count for first, _, count in ranges)


def _outside(ranges: list[tuple[int, int, int]], number: int) -> int | None:
    for first, outside, count in ranges:
        if first <= number < first + count:
            return outside + number - first
    return None
