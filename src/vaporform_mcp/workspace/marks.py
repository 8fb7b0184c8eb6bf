"""The mark kept with a sandbox: whose it is, which revision it was last equal to, and the stats of that moment."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import cast

from vaporform_mcp.sync import Index
from vaporform_mcp.types import EntryKind, Stat, WorkspacePath

__all__ = ["Mark", "decode", "encode"]

_FORMAT = 1

Row = tuple[str, str, int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """`revision` is the one whose tree the index was compared with: it vouches for no later one.

    `withheld` are paths of the mirror that a restore could not bring back: their absence is no deletion.
    """

    workspace_id: str
    epoch: int
    revision: int
    index: Index = field(default_factory=Index)
    withheld: frozenset[WorkspacePath] = frozenset()


def encode(mark: Mark) -> bytes:
    rows: list[Row] = [
        (path, stat.kind.value, stat.size, stat.mode, stat.mtime_ns, stat.ctime_ns, stat.inode)
        for path, stat in mark.index.stats.items()
    ]
    fields = [_FORMAT, mark.workspace_id, mark.epoch, mark.revision, mark.index.clock_ns, rows, sorted(mark.withheld)]
    return json.dumps(fields, separators=(",", ":")).encode()


def decode(raw: bytes) -> Mark | None:
    """None for what is no mark of this format: the mirror is the truth then, as if there were none."""
    try:
        fields = cast("tuple[int, str, int, int, int, list[Row], list[str]]", json.loads(raw))
        version, workspace_id, epoch, revision, clock_ns, rows, withheld = fields
        if version != _FORMAT:
            return None
        stats = {
            WorkspacePath(path): Stat(
                kind=EntryKind(kind), size=size, mode=mode, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode
            )
            for path, kind, size, mode, mtime_ns, ctime_ns, inode in rows
        }
    except (ValueError, TypeError):
        return None
    return Mark(
        workspace_id=workspace_id,
        epoch=epoch,
        revision=revision,
        index=Index(clock_ns=clock_ns, stats=stats),
        withheld=frozenset(map(WorkspacePath, withheld)),
    )
