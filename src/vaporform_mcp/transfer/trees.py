"""What of a tree must not be written anywhere: a store can have been made, or changed, by somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from vaporform_mcp.errors import InvalidPath
from vaporform_mcp.types import WorkspacePath, parse_path

__all__ = ["faults_of", "folders_of", "is_safe"]


def is_safe(path: str) -> bool:
    """Whether it is a path as this program makes them, which stays in its workspace."""
    try:
        return parse_path(path) == path
    except InvalidPath:
        return False


def faults_of(tree: Iterable[WorkspacePath]) -> Mapping[WorkspacePath, str]:
    """The paths that cannot be written, and why: they leave the folder, or lie below what is a file or link."""
    paths = frozenset(tree)
    faults: dict[WorkspacePath, str] = {}
    for path in paths:
        if not is_safe(path):
            faults[path] = "its path would leave the folder"
        elif (above := next((folder for folder in folders_of(path) if folder in paths), None)) is not None:
            faults[path] = f"{above!r} is a file, so that nothing can lie below it"
    return faults


def folders_of(path: str) -> Iterator[WorkspacePath]:
    """The folders that it lies in, innermost first, without the root."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield WorkspacePath(path)
