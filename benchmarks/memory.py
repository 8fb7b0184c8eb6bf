"""How much memory a server takes, with its sandbox's processes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = [
    "peak_bytes",
    "pss_bytes",
    "reset_peak",
    "resident_bytes",
    "sandbox_processes",
    "supervisors",
    "with_descendants",
]

LAUNCHER = "bwrap"

_KIB = 1024


def pss_bytes(processes: Iterable[int]) -> int:
    """The proportional set size of the processes: what they share counts once. Those that are gone count nothing.

    Raises:
        PermissionError: a process does not let us look.
    """
    return sum(_pss_of(process) for process in processes)


def sandbox_processes(data_dir: Path) -> set[int]:
    """The processes of the sandboxes that live in a data folder of ours.

    A sandbox outlives its server and need not be its child, so it is found by its first process, which is noted there;
    with it count its descendants, and the launcher that waits above it.
    """
    parents = _parents()
    found: set[int] = set()
    for first in supervisors(data_dir):
        while first in parents and _name(parents[first]) == LAUNCHER:
            first = parents[first]
        if first in parents:
            found |= with_descendants(first, parents)
    return found


def supervisors(data_dir: Path) -> list[int]:
    """The first process of each sandbox that lives in a data folder of ours."""
    return [int(json.loads(note.read_bytes())["pid"]) for note in data_dir.glob("sandboxes/*/run/pid.json")]


def resident_bytes(process: int) -> int:
    """What of the process is in memory now."""
    return _status_of(process, "VmRSS")


def peak_bytes(process: int) -> int:
    """The most that was in memory at once since `reset_peak`, by the kernel's own count."""
    return _status_of(process, "VmHWM")


def reset_peak(process: int) -> None:
    """Raises `PermissionError` for another user's process."""
    Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")


def with_descendants(root: int, parents: Mapping[int, int] | None = None) -> set[int]:
    """A process with its children, theirs and so on. `parents`: every process's parent, where it is known already."""
    known = _parents() if parents is None else parents
    found = {root}
    while more := {pid for pid, parent in known.items() if parent in found and pid not in found}:
        found |= more
    return found


def _pss_of(process: int) -> int:
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * _KIB for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def _status_of(process: int, name: str) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
    return next(int(line.split()[1]) * _KIB for line in status.splitlines() if line.startswith(f"{name}:"))


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    return found
