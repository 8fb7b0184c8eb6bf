"""What is in a person's folder, without what its ignore rules keep out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vaporform_mcp.errors import InvalidPath
from vaporform_mcp.exclusions import IGNORE_FILE, MAX_IGNORE_BYTES, Exclusions
from vaporform_mcp.stores.base import OnProgress
from vaporform_mcp.transfer.exchange import Version
from vaporform_mcp.transfer.folders import TEMPORARY, Folder
from vaporform_mcp.transfer.gitignores import GitIgnores
from vaporform_mcp.trees import is_in_repository, is_safe
from vaporform_mcp.types import Digest, EntryKind, Stat, WorkspacePath, parse_path

__all__ = ["Scanned", "scan_folder", "versions_of"]

_MIRRORED = {EntryKind.FILE, EntryKind.SYMLINK}
_CHUNK_BYTES = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Scanned:
    """`problems` names what is there and cannot be told, and why; escaped, where it is no path. Not what is ignored."""

    files: dict[WorkspacePath, Stat] = field(default_factory=dict[WorkspacePath, Stat])
    problems: dict[WorkspacePath, str] = field(default_factory=dict[WorkspacePath, str])


def scan_folder(folder: Folder, exclusions: Exclusions, *, with_ignored: bool = False) -> Scanned:
    """Every file and link; `with_ignored` also those that git alone would ignore. Blocks.

    The folder's own `.vaporformignore` comes after `exclusions`. A repository itself (`.git`) is never among them.
    """
    rules = exclusions.extended(_lines(folder, IGNORE_FILE))
    git = None if with_ignored else GitIgnores(lambda path: _lines(folder, path))
    scanned = Scanned()
    pending = [""]
    while pending:
        above = pending.pop()
        try:
            found = folder.list(above)
        except OSError as error:
            scanned.problems[WorkspacePath(above or ".")] = f"it cannot be listed: {error.strerror}"
            continue
        for name, stat in sorted(found, key=lambda item: item[0]):
            path = _path(above, name, scanned)
            if path is None:
                continue
            is_folder = stat.kind is EntryKind.DIRECTORY
            if _is_ours(path) or (git is not None and git.is_ignored(path, is_folder=is_folder)):
                continue
            if is_folder:
                if not rules.is_excluded(WorkspacePath(f"{path}/any")):
                    pending.append(path)
            elif not rules.is_excluded(path):
                if stat.kind in _MIRRORED:
                    scanned.files[path] = stat
                else:
                    scanned.problems[path] = "it is a device, socket or FIFO"
    return scanned


def versions_of(
    folder: Folder, paths: Collection[WorkspacePath], on_progress: OnProgress | None = None
) -> tuple[Mapping[WorkspacePath, Version], Mapping[WorkspacePath, str]]:
    """What is at those paths, by reading it all, and what could not be read, and why. Blocks."""
    found: dict[WorkspacePath, Version] = {}
    problems: dict[WorkspacePath, str] = {}
    for done, path in enumerate(sorted(paths)):
        try:
            stat = folder.stat(path)
            if stat is not None and stat.kind in _MIRRORED:
                runs = stat.kind is EntryKind.FILE and bool(stat.mode & 0o100)
                found[path] = Version(kind=stat.kind, executable=runs, digest=_digest(folder, path, stat))
        except OSError as error:
            problems[path] = f"it cannot be read: {error.strerror}"
        if on_progress is not None:
            on_progress(done + 1, len(paths))
    return found, problems


def _is_ours(path: str) -> bool:
    """A repository itself, and what a pull that was killed has left half-written."""
    name = path.rpartition("/")[2]
    return is_in_repository(name) or name.startswith(TEMPORARY)


def _digest(folder: Folder, path: WorkspacePath, stat: Stat) -> Digest:
    if stat.kind is EntryKind.SYMLINK:
        return Digest(hashlib.sha256(folder.target(path)).hexdigest())
    with os.fdopen(folder.open(path), "rb") as file:
        hashed = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            hashed.update(chunk)
        return Digest(hashed.hexdigest())


def _path(above: str, name: bytes, scanned: Scanned) -> WorkspacePath | None:
    try:
        path = parse_path(f"{above}/{name.decode()}".lstrip("/"))
    except (UnicodeDecodeError, InvalidPath):
        shown = f"{above}/{os.fsdecode(name)}".lstrip("/").encode("utf-8", "backslashreplace").decode()
        scanned.problems[WorkspacePath(shown)] = "its name cannot be kept in a workspace"
        return None
    return path if is_safe(path) else None


def _lines(folder: Folder, path: str) -> Sequence[str]:
    try:
        with os.fdopen(folder.open(WorkspacePath(path)), "rb") as file:
            return file.read(MAX_IGNORE_BYTES).decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
    except OSError:
        return ()
