"""Which paths differ between two revisions, at a cost that follows the change."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

from vaporform_mcp.errors import NotFound
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import ROOT, Entry, WorkspacePath

__all__ = ["FileChange", "Status", "changes_between", "is_repository", "lies_under", "near_paths"]

Status = Literal["added", "changed", "removed"]

_MAX_ASKED = 5_000
"""Above this many paths, whole trees are read at once."""

_MAX_NEAR = 5
_MAX_COMPARED = 500
_REPOSITORY = WorkspacePath(".git")
"""What the mirror keeps in it is made from the repository by each sync."""

_Tree = Mapping[WorkspacePath, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One path that differs; not both of `before` and `after` are None."""

    path: WorkspacePath
    before: Entry | None
    after: Entry | None

    @property
    def status(self) -> Status:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def lies_under(path: str, folder: str) -> bool:
    """Whether the path is `folder` or lies in it; everything does in the root."""
    return not folder or path == folder or path.startswith(f"{folder}/")


def is_repository(path: str) -> bool:
    """Whether it lies in the workspace's git repository, which has a history of its own."""
    return lies_under(path, _REPOSITORY)


def near_paths(path: WorkspacePath, tree: Collection[WorkspacePath], *, only_under: bool = False) -> Sequence[str]:
    """Paths of the tree that lie at or under the path, or else that are most like it; a few of them."""
    under = list(islice((each for each in tree if lies_under(each, path)), _MAX_NEAR))
    if under or only_under:
        return under
    folder, _, name = path.lower().rpartition("/")
    of_name: list[WorkspacePath] = []
    beside: list[WorkspacePath] = []
    for each in tree:
        its_folder, _, its_name = each.lower().rpartition("/")
        if its_name == name:
            of_name.append(each)
        elif its_folder == folder:
            beside.append(each)
    # Comparing costs 0.1 ms a path, while every other call waits.
    likely = dict.fromkeys(islice(chain(of_name, beside, tree), _MAX_COMPARED))
    near = difflib.get_close_matches(path, likely, n=_MAX_NEAR)
    return list(dict.fromkeys([*near, *of_name]))[:_MAX_NEAR]


async def changes_between(
    store: Store, workspace_id: str, before: int, after: int, *, under: WorkspacePath = ROOT
) -> Sequence[FileChange]:
    """What is other at revision `after` than at `before`, whichever is the later, ordered by path.

    What the mirror keeps of a git repository is left out, unless `under` lies in there.

    Raises:
        NotFound: one of them does not exist or was pruned. 0 always exists, and is empty.
    """
    old, new = await _trees(store, workspace_id, before, after, under)
    found: list[FileChange] = []
    for path in sorted(old.keys() | new.keys()):
        if not lies_under(path, under) or (is_repository(path) and not is_repository(under)):
            continue
        one, other = old.get(path), new.get(path)
        if not _is_same(one, other):
            found.append(FileChange(path=path, before=one, after=other))
    return found


async def _trees(store: Store, workspace_id: str, before: int, after: int, under: WorkspacePath) -> tuple[_Tree, _Tree]:
    """Both trees, as far as they may differ."""
    try:
        between = await store.changes(workspace_id, after=min(before, after), upto=max(before, after))
    except NotFound:
        between = None
    if between is not None:
        paths = [change.path for change in between if lies_under(change.path, under)]
        if len(paths) <= _MAX_ASKED:
            old = await store.entries(workspace_id, paths, before)
            return old, await store.entries(workspace_id, paths, after)
    return await store.tree(workspace_id, before), await store.tree(workspace_id, after)


def _is_same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.kind, one.mode, one.digest) == (other.kind, other.mode, other.digest)
