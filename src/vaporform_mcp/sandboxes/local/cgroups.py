"""A cgroup of a sandbox's own, where this system has delegated one: limits for all of its processes together.

Only cgroup v2, and only where whoever owns the group above ours has enabled memory and pids for what is in it, as
systemd does for a user's services and terminals. Everywhere else there is none, and sandboxes run without.
Source: the kernel's "Control Group v2", on delegation and on the rule against processes in inner groups.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vaporform_mcp.sandboxes.local.config import LocalConfig

__all__ = ["Cgroup", "holds", "make"]

log = logging.getLogger(__name__)

_PREFIX = "vaporform-sandbox-"
_NEEDED = frozenset({"memory", "pids"})
_SPARE = 16
"""Processes and threads beside the commands': bubblewrap's and the supervisor's."""

_STALE_S = 60.0
"""The age from which an empty cgroup is taken for a leftover, and not for one that is about to be entered."""

_OWN_LIMITS = ("memory.max", "memory.high", "memory.swap.max", "cpu.max")

_PROC = Path("/proc")
_SHELL = "/bin/sh"
# The writer of a 0 moves itself. The shell is then replaced, so its process stays the one that was started.
_ENTER = '{ echo 0 >"$1"; } 2>/dev/null || :; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A sandbox's own cgroup, by the folder that the kernel shows it as."""

    path: Path

    def entered_by(self, argv: Sequence[str]) -> list[str]:
        """The command that enters the cgroup and becomes `argv`. Where it may not enter, it becomes that outside."""
        return [_SHELL, "-c", _ENTER, "sh", f"{self.path}/cgroup.procs", *argv]

    def remove(self) -> None:
        """Remove it, if no process is left in it."""
        with suppress(OSError):
            self.path.rmdir()


def make(name: str, config: LocalConfig, *, proc: Path = _PROC) -> Cgroup | None:
    """A new cgroup with the limits of `config`; None where this system gives us none. Leftovers of others go.

    Each is new, so that nobody who cleans up after an earlier start of the sandbox can take it away.
    """
    parent = _parent(proc)
    if parent is None or not os.access(_SHELL, os.X_OK):
        return None
    _sweep(parent)
    cgroup = Cgroup(parent / f"{_PREFIX}{name}-{secrets.token_hex(4)}")
    try:
        cgroup.path.mkdir()
        # Swap and the killing of all at once (memory.oom.group) are left as they are: one process of too many goes.
        (cgroup.path / "memory.max").write_text(str(config.memory_mb << 20), encoding="ascii")
        (cgroup.path / "pids.max").write_text(str(config.processes + _SPARE), encoding="ascii")
    except OSError as error:
        log.debug("no cgroup for a sandbox: %s", error)
        cgroup.remove()
        return None
    return cgroup


def holds(pid: int, *, proc: Path = _PROC) -> bool:
    """Whether the process is in a cgroup that limits a sandbox: as the kernel says, whoever has started it."""
    found = _folder(proc, str(pid)) if pid > 0 else None
    if found is None or not found[0].name.startswith(_PREFIX):
        return False
    return all(_read(found[0] / name).strip().isdigit() for name in ("memory.max", "pids.max"))


def _parent(proc: Path) -> Path | None:
    """Where sandboxes' cgroups can be: beside our own, or in it where it is the root of what we see."""
    found = _folder(proc, "self")
    if found is None:
        return None
    own, root = found
    parent = own if own == root else own.parent
    if not set(_read(parent / "cgroup.subtree_control").split()) >= _NEEDED or not os.access(parent, os.W_OK):
        return None
    # A limit that somebody gave this server is meant for what it runs too: nothing may leave it.
    if parent != own and any(_read(own / name)[:3] not in ("", "max") for name in _OWN_LIMITS):
        return None
    return parent


def _folder(proc: Path, process: str) -> tuple[Path, Path] | None:
    """The folder of the process's cgroup in the unified hierarchy, and the mount that shows it."""
    lines = _read(proc / process / "cgroup").splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::/")), None)
    # What is outside our cgroup namespace begins with "..".
    if path is None or ".." in PurePosixPath(path).parts:
        return None
    for line in _read(proc / "self/mountinfo").splitlines():
        mount, _, kind = line.partition(" - ")
        if not kind.startswith("cgroup2 "):
            continue
        root, target = (_unescaped(field) for field in mount.split(" ")[3:5])
        with suppress(ValueError):
            return Path(target) / PurePosixPath(path).relative_to(root), Path(target)
    return None


def _sweep(parent: Path) -> None:
    with suppress(OSError):
        for path in parent.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_S:
                    path.rmdir()  # which the kernel refuses while a process is in it


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
