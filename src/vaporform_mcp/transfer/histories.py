"""A workspace's history, read oldest first, and what of it must not be taken over from somebody else's store."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing

from vaporform_mcp.care.retention import revisions
from vaporform_mcp.stores.base import Adopted, Store
from vaporform_mcp.trees import folders_of, is_safe
from vaporform_mcp.types import Change, Revision, WorkspacePath

__all__ = ["GrowingTree", "faults_in_history", "history", "kept_revisions"]

_MOST_FAULTS = 20


async def kept_revisions(store: Store, workspace_id: str) -> Sequence[Revision]:
    """Oldest first."""
    async with aclosing(revisions(store, workspace_id)) as log:
        found = [revision async for revision in log]
    return found[::-1]


async def history(
    store: Store, workspace_id: str, kept: Sequence[Revision], *, after: int = 0
) -> AsyncGenerator[Adopted]:
    """What each of `kept` did, one after the other, where the tree is known as it was at `after`."""
    for revision in kept:
        changes = await store.changes(workspace_id, after=after, upto=revision.number)
        yield Adopted(revision=revision, changes=changes)
        after = revision.number


async def faults_in_history(store: Store, workspace_id: str) -> Mapping[WorkspacePath, str]:
    """Paths that no kept revision may have, and why; not all of them where there are many."""
    tree = GrowingTree()
    faults: dict[WorkspacePath, str] = {}
    kept = await kept_revisions(store, workspace_id)
    async with aclosing(history(store, workspace_id, kept)) as steps:
        async for step in steps:
            faults |= tree.grow(step.changes)
            if len(faults) >= _MOST_FAULTS:
                break
    return faults


class GrowingTree:
    """The paths of a tree, revision by revision."""

    def __init__(self) -> None:
        self._leaves: set[str] = set()
        self._folders: Counter[str] = Counter()

    def grow(self, changes: Iterable[Change]) -> Mapping[WorkspacePath, str]:
        """Take a revision's changes in; answers with the paths that are wrong, or wrong beside others, from then on."""
        added: list[WorkspacePath] = []
        unsafe: dict[WorkspacePath, str] = {}
        for change in changes:
            if change.entry is None:
                self._drop(change.path)
            elif not is_safe(change.path):
                # Not taken in: the folders of a path of any length are more than any memory holds.
                unsafe[change.path] = "it would leave the workspace"
            elif change.path not in self._leaves:
                self._leaves.add(change.path)
                self._folders.update(folders_of(change.path))
                added.append(change.path)
        return unsafe | {path: why for path in added if (why := self._fault(path)) is not None}

    def _drop(self, path: WorkspacePath) -> None:
        if path in self._leaves:
            self._leaves.remove(path)
            self._folders.subtract(folders_of(path))

    def _fault(self, path: WorkspacePath) -> str | None:
        above = next((folder for folder in folders_of(path) if folder in self._leaves), None)
        if above is not None:
            return f"it lies below {above!r}, which is a file or a link"
        if self._folders[path] > 0:
            return "it is a file or a link, and others lie below it"
        return None
