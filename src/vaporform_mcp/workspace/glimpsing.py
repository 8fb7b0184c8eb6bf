"""Looking at what a sandbox's watch names, where that is enough: what a sync costs that follows few changes."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vaporform_mcp.exclusions import IGNORE_FILE, Exclusions
from vaporform_mcp.sandboxes.base import FileFault, Rescan, Sandbox, Scan
from vaporform_mcp.sync import MIRRORED, is_unchanged, nominate
from vaporform_mcp.types import Entry, Stat, WorkspacePath
from vaporform_mcp.workspace.files import behind_links
from vaporform_mcp.workspace.marks import Mark
from vaporform_mcp.workspace.mirror import Mirror
from vaporform_mcp.workspace.repository import FOLDER, Repository

__all__ = ["Look", "Standing", "files_present", "glimpse"]

MAX_HIDDEN = 1_000
TRUSTED_S = 600.0
"""What no watch is told of is found after so long at the latest, however busy the workspace is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at the sandbox nominates, against the mirror's `tree` (all of it, or what the look is about).

    `wanted` are to be read; `doubtful` are tracked and seem to be gone; `covered` certainly are; `kept` cannot be told,
    and why; `same` are as the mark has them. `scan` is set where everything was looked at.
    """

    mark: Mark
    tree: Mapping[WorkspacePath, Entry]
    read_at: int
    wanted: Sequence[tuple[WorkspacePath, Stat]]
    doubtful: Sequence[WorkspacePath]
    covered: Sequence[WorkspacePath]
    kept: Mapping[WorkspacePath, str]
    same: Mapping[WorkspacePath, Stat]
    problems: Sequence[str]
    hidden: frozenset[WorkspacePath]
    has_git: bool
    cursor: str
    scan: Scan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the next glimpse follows from: the sync before, which left the mirror equal to the sandbox.

    `revision` is the one it was compared with. `mark_tag` is of the mark in the sandbox, which glimpses leave as it is:
    until the next whole look it vouches for less than it could. `hidden` are tracked where no watch looks; `kept` could
    not be read, and are tried again.
    """

    cursor: str
    mark_tag: str
    revision: int
    hidden: frozenset[WorkspacePath]
    kept: frozenset[WorkspacePath]
    has_git: bool
    problems: Sequence[str]
    until: float = field(default_factory=lambda: time.monotonic() + TRUSTED_S)


async def glimpse(
    sandbox: Sandbox, mirror: Mirror, mark: Mark, standing: Standing, exclusions: Exclusions, repository: Repository
) -> Look | None:
    """None where it is not enough, and everything is to be looked at."""
    if time.monotonic() > standing.until or await sandbox.mark_tag() != standing.mark_tag:
        return None
    rescan = await sandbox.rescan(standing.cursor)
    if rescan is None or rescan.invalid or rescan.unreadable or _upsets(rescan):
        return None
    # Not copied, since that grows with the tree: what our own writes commit meanwhile may show in it, which is no
    # harm, since files are read later than this, and `read_at` makes the next look take these up again.
    everything = await mirror.tree()
    read_at = mirror.head.number
    suspects = await mirror.changed_since(standing.revision)
    if suspects is None:
        return None
    pruned = exclusions.pruned_names
    by_git = await repository.paths(is_there=standing.has_git, pruned=pruned)
    hidden = standing.hidden.union(by_git, (path for path in suspects if _lies_in(path, pruned)))
    if len(hidden) > MAX_HIDDEN:
        return None
    scanned = {item.path: item.stat for item in rescan.entries}
    unseen = {*hidden, *rescan.linked, *standing.kept, *suspects} - scanned.keys()
    present, kept = await files_present(sandbox, sorted(unseen))
    about = {*scanned, *unseen, *rescan.gone, *_under(rescan.lost, everything)}
    tree = {path: everything[path] for path in about if path in everything}
    nominated = nominate(scanned.items(), mark.index, tree, complete=True, exclusions=exclusions, suspects=tree)
    shown = {path for path, _ in present}
    doubted = {*suspects, *standing.kept}
    return Look(
        mark=mark,
        tree=tree,
        read_at=read_at,
        wanted=[
            *nominated.read,
            *(
                (path, stat)
                for path, stat in present
                if (path in tree or path in by_git or not exclusions.is_excluded(path))
                and (path in doubted or not is_unchanged(path, stat, mark.index))
            ),
        ],
        doubtful=[path for path in nominated.unlisted if path not in shown and path not in kept],
        covered=nominated.covered,
        kept=kept,
        same={},
        problems=standing.problems,
        hidden=hidden,
        has_git=standing.has_git,
        cursor=rescan.cursor,
    )


async def files_present(
    sandbox: Sandbox, paths: Sequence[WorkspacePath]
) -> tuple[list[tuple[WorkspacePath, Stat]], dict[WorkspacePath, str]]:
    """Those that are there as files or symlinks, and those of which nobody can tell, with why.

    What is reached through a symlink lies elsewhere, under a name of its own.
    """
    present: list[tuple[WorkspacePath, Stat]] = []
    kept: dict[WorkspacePath, str] = {}
    for item in await sandbox.stat_files(paths) if paths else ():
        if isinstance(item, FileFault):
            kept[item.path] = item.error.message
        elif item is not None and item.stat.kind in MIRRORED:
            present.append((item.path, item.stat))
    astray = await behind_links(sandbox, [*(path for path, _ in present), *kept])
    return (
        [item for item in present if item[0] not in astray],
        {path: why for path, why in kept.items() if path not in astray},
    )


def _upsets(rescan: Rescan) -> bool:
    """Whether it touches on what decides where to look."""
    decisive = {IGNORE_FILE, FOLDER}
    return not decisive.isdisjoint({*rescan.gone, *rescan.lost, *(item.path for item in rescan.entries)})


def _lies_in(path: WorkspacePath, names: Collection[str]) -> bool:
    return any(part in names for part in path.split("/")[:-1])


def _under(folders: Sequence[WorkspacePath], tree: Mapping[WorkspacePath, Entry]) -> list[WorkspacePath]:
    within = tuple(f"{folder}/" for folder in folders)
    return [path for path in tree if path.startswith(within)] if within else []
