"""What a sandbox tells of the files that it has, without their contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaporform_mcp.types import Stat, WorkspacePath

__all__ = ["FileStat", "Rescan", "Scan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    path: WorkspacePath
    stat: Stat


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What lies under a folder, sorted by path.

    `invalid` are names that no `WorkspacePath` can hold, escaped; `unreadable` are folders that could not be listed.
    `clock_ns` is the sandbox's clock just before the scan began. `truncated` says that `limit` was met. `cursor` is for
    a `rescan` of what comes after; empty where there can be none.
    """

    entries: Sequence[FileStat]
    invalid: Sequence[str]
    unreadable: Sequence[str]
    clock_ns: int
    truncated: bool
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescan:
    """What may have changed since a scan, or since the rescan before.

    `entries` are what was touched and is there, and what lies in folders that are new or may now be read, in no order.
    `gone` paths are not there. `lost` folders went away with all that was in them, or are new where one may have been;
    another may be there again. `linked` files have several names and may have changed unseen. The rest is as in `Scan`.
    """

    entries: Sequence[FileStat]
    gone: Sequence[WorkspacePath]
    lost: Sequence[WorkspacePath]
    linked: Sequence[WorkspacePath]
    invalid: Sequence[str]
    unreadable: Sequence[str]
    cursor: str
