"""On what, by whom and of what a run is: what its numbers need to be read."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.peers import PeersMissing, node_version
from benchmarks.samples import BARE
from benchmarks.subjects import Subject

__all__ = ["Circumstances", "User", "circumstances", "here"]

User = Literal["an ordinary user", "root"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """`versions`: name and version of everything that was run."""

    date: str
    user: User
    machine: str
    versions: Sequence[tuple[str, str]]


def circumstances(subjects: Sequence[Subject], folder: Path) -> Circumstances:
    """Those of this process. `folder`: where the servers write."""
    versions = [("mcp", importlib.metadata.version("mcp"))]
    versions += [(each.name, each.version) for each in subjects if each.name != BARE]
    with suppress(PeersMissing):
        versions.append(("Node.js", node_version().removeprefix("v")))
    return here(folder, versions)


def here(folder: Path, versions: Sequence[tuple[str, str]]) -> Circumstances:
    """The same with other versions than those of servers."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(platform.release().split(".")[:2])
    return Circumstances(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        user="root" if os.geteuid() == 0 else "an ordinary user",
        machine=f"{os.cpu_count()} cores ({platform.machine()}), {memory_gib:.0f} GiB of memory, "
        f"Linux {kernel}, files on {_file_system(folder)}",
        versions=[("Python", platform.python_version()), *versions],
    )


def _file_system(folder: Path) -> str:
    """The type of the mount that the folder is on, which is the longest that leads to it."""
    best, kind = "", "an unknown file system"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, place, found, *_ = line.split()
        if len(place) >= len(best) and folder.resolve().is_relative_to(place):
            best, kind = place, found
    return kind
