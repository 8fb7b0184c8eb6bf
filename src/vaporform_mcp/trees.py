"""What of a tree must not be written anywhere: a store can have been made, or changed, by somebody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vaporform_mcp.errors import InvalidPath
from vaporform_mcp.types import Entry, EntryKind, WorkspacePath, parse_path

__all__ = ["faults_of", "folders_of", "is_in_repository", "is_safe"]

_REPOSITORIES = {".git", "git~1"}
"""As git names a repository's folder, and as Windows may; case tells nothing there."""


def is_safe(path: str) -> bool:
    """Whether it is a path as this program makes them, which stays in its workspace."""
    try:
        return parse_path(path) == path
    except InvalidPath:
        return False


def is_in_repository(path: str) -> bool:
    """Whether it is a part of a git repository, whose hooks and settings run programs where git is used."""
    return any(part.casefold() in _REPOSITORIES for part in path.split("/"))


def faults_of(tree: Mapping[WorkspacePath, Entry]) -> Mapping[WorkspacePath, str]:
    """The paths that cannot be restored, and why: they leave the workspace, or lie below what is a file or link."""
    faults: dict[WorkspacePath, str] = {}
    for path in tree:
        if not is_safe(path):
            faults[path] = "refused: its path would leave the workspace"
        elif (above := next((folder for folder in folders_of(path) if folder in tree), None)) is not None:
            kind = "symbolic link" if tree[above].kind is EntryKind.SYMLINK else "file"
            faults[path] = f"refused: {above!r} is a {kind}, so that nothing can lie below it"
    return faults


def folders_of(path: WorkspacePath) -> Iterator[WorkspacePath]:
    """The folders that it lies in, innermost first, without the root."""
    while "/" in path:
        path = WorkspacePath(path.rpartition("/")[0])
        yield path
