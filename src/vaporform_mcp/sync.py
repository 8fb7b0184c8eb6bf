"""Pure planning of an incremental sync: which paths a scan nominates for reading, and what then changed.

As in git's index, a file is taken as unchanged only if everything that its stat says is as it was when it was last
synced, and that moment is safely later than its last change ("racy git", Documentation/technical/racy-git.txt).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vaporform_mcp.exclusions import Exclusions
from vaporform_mcp.trees import folders_of
from vaporform_mcp.types import Change, Entry, EntryKind, Stat, WorkspacePath

__all__ = [
    "CLOCK_GRAIN_NS",
    "MIRRORED",
    "Index",
    "Nominated",
    "changes_between",
    "is_unchanged",
    "nominate",
]

CLOCK_GRAIN_NS = 20_000_000
"""Two changes closer than this may bear one time stamp: kernels stamp files by a tick of 1 to 10 ms."""

MIRRORED = frozenset({EntryKind.FILE, EntryKind.SYMLINK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What the stats of the synced paths were. `clock_ns` is the sandbox's clock just before they were taken."""

    clock_ns: int = 0
    stats: Mapping[WorkspacePath, Stat] = field(default_factory=dict[WorkspacePath, Stat])


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominated:
    """`read` may have changed; `same` certainly did not; `unlisted` are tracked but were not in the scan.

    `covered` are tracked and cannot be there any more: a file or a symlink stands where a folder on their way was.
    """

    read: Sequence[tuple[WorkspacePath, Stat]]
    unlisted: Sequence[WorkspacePath]
    covered: Sequence[WorkspacePath]
    same: Mapping[WorkspacePath, Stat]


def is_unchanged(path: WorkspacePath, stat: Stat, index: Index) -> bool:
    """Whether the index proves that the path is as it was when it was last synced."""
    return stat.ctime_ns < index.clock_ns - CLOCK_GRAIN_NS and index.stats.get(path) == stat


def nominate(
    scanned: Iterable[tuple[WorkspacePath, Stat]],
    index: Index,
    tree: Mapping[WorkspacePath, Entry],
    *,
    complete: bool,
    exclusions: Exclusions,
    suspects: Container[WorkspacePath] = frozenset(),
) -> Nominated:
    """Compare a scan with the index. `exclusions` keep out what is not in the tree.

    `complete` unset (the scan was cut short): what is unlisted proves nothing.

    `suspects` are read whatever the index says: the tree has changed there since the index was made, so that it does
    not vouch for what the tree now has.
    """
    read: list[tuple[WorkspacePath, Stat]] = []
    same: dict[WorkspacePath, Stat] = {}
    seen: set[WorkspacePath] = set()
    leaves: set[str] = set()
    for path, stat in scanned:
        if stat.kind not in MIRRORED:
            continue
        leaves.add(path)
        tracked = path in tree
        if not tracked and exclusions.is_excluded(path):
            continue
        seen.add(path)
        if tracked and path not in suspects and is_unchanged(path, stat, index):
            same[path] = stat
        else:
            read.append((path, stat))
    unseen = [path for path in tree if path not in seen]
    covered = {path for path in unseen if not leaves.isdisjoint(folders_of(path))}
    return Nominated(
        read=read,
        unlisted=[path for path in unseen if path not in covered] if complete else [],
        covered=sorted(covered),
        same=same,
    )


def changes_between(
    tree: Mapping[WorkspacePath, Entry], found: Mapping[WorkspacePath, Entry], gone: Iterable[WorkspacePath]
) -> list[Change]:
    """The changes that make `tree` agree with what was read, ordered by path."""
    changed = [
        Change(path=path, entry=entry)
        for path, entry in found.items()
        if (known := tree.get(path)) is None or not _same_file(known, entry)
    ]
    removed = [Change(path=path, entry=None) for path in gone if path in tree]
    return sorted([*changed, *removed], key=lambda change: change.path)


def _same_file(known: Entry, entry: Entry) -> bool:
    return (known.kind, known.mode, known.digest) == (entry.kind, entry.mode, entry.digest)
