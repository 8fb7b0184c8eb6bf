"""The processes of this machine, as far as it shows them to us."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HostProcess", "running"]

_ENDED = ("Z", "X")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProcess:
    """`parent` is its number; `uid` the user whose limits it counts for, with each of its `threads`."""

    parent: int
    uid: int
    threads: int


def running() -> Mapping[int, HostProcess]:
    """Those that run, by their numbers."""
    found: dict[int, HostProcess] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError, KeyError, ValueError):  # it has ended meanwhile
                rows = _rows((path / "status").read_text("utf-8", errors="replace"))
                if not rows["State"].startswith(_ENDED):
                    found[int(path.name)] = HostProcess(
                        parent=int(rows["PPid"]), uid=int(rows["Uid"].split()[0]), threads=int(rows["Threads"])
                    )
    return found


def _rows(text: str) -> Mapping[str, str]:
    return {name: value.strip() for name, _, value in (row.partition(":") for row in text.splitlines())}
