"""A workspace's files, brought into a person's folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from anyio import to_thread

from vaporform_mcp.stores.base import OnProgress, Store
from vaporform_mcp.transfer.exchange import Memory, Plan, Version, plan, version_of
from vaporform_mcp.transfer.exporting import CHANGED, export_tree
from vaporform_mcp.transfer.folders import Folder
from vaporform_mcp.transfer.scanning import versions_of
from vaporform_mcp.trees import is_in_repository
from vaporform_mcp.types import Entry, Stat, WorkspacePath

__all__ = ["Exchanged", "pull"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """What was done, or would be, and what could not be, and why."""

    plan: Plan
    problems: Mapping[WorkspacePath, str]


async def pull(
    store: Store,
    tree: Mapping[WorkspacePath, Entry],
    folder: Folder | None,
    memory: Memory,
    *,
    overwrite: bool,
    dry_run: bool,
    on_progress: OnProgress | None = None,
) -> Exchanged:
    """Make the folder (None: it is still to be made) as the tree, where the folder has nothing newer.

    Each file is replaced whole, and only while it is still the one that was compared. What the mirror keeps of a git
    repository stays out: the folder may be one itself. Stopped half-way, repeating goes on.
    """
    source = {path: version_of(entry) for path, entry in tree.items() if not is_in_repository(path)}
    # Where there is nothing, nothing is newer: a folder that was removed is filled again.
    has_anything = folder is not None and await to_thread.run_sync(folder.list, "")
    base: Mapping[WorkspacePath, Version] = memory.recall() if has_anything else {}
    here: Mapping[WorkspacePath, Version] = {}
    unread: Mapping[WorkspacePath, str] = {}
    seen: Mapping[WorkspacePath, Stat | None] = {}
    if folder is not None:
        seen = await to_thread.run_sync(_stats, folder, source.keys() | base.keys())
        here, unread = await to_thread.run_sync(versions_of, folder, source.keys() | base.keys())
    planned = plan(source, here, base, hidden=unread.keys(), overwrite=overwrite)
    if dry_run or folder is None:
        return Exchanged(plan=planned, problems=unread)

    def may_replace(path: WorkspacePath) -> bool:
        return overwrite or folder.stat(path) == seen.get(path)

    problems = dict(unread)
    for path in planned.remove:
        try:
            if await to_thread.run_sync(may_replace, path):
                await to_thread.run_sync(folder.remove, path)
            else:
                problems[path] = CHANGED
        except OSError as error:
            problems[path] = f"it cannot be removed: {error.strerror}"
    wanted = {path: tree[path] for path in planned.write}
    problems |= await export_tree(store, wanted, folder, may_replace=may_replace, on_progress=on_progress)
    unsettled = problems.keys() | {each.path for each in planned.kept}
    common = {path: each for path, each in source.items() if path not in unsettled}
    memory.keep({**{path: each for path, each in base.items() if path in unsettled}, **common})
    return Exchanged(plan=planned, problems=problems)


def _stats(folder: Folder, paths: Iterable[WorkspacePath]) -> Mapping[WorkspacePath, Stat | None]:
    """What is there, and where nothing is; one that cannot be told is not in it. Blocks."""
    found: dict[WorkspacePath, Stat | None] = {}
    for path in paths:
        with suppress(OSError):
            found[path] = folder.stat(path)
    return found
