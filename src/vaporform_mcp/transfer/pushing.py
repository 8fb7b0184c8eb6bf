"""A person's folder, brought into a workspace: into its sandbox first, from where a sync mirrors it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from anyio import to_thread

from vaporform_mcp.errors import Conflict
from vaporform_mcp.exclusions import Exclusions
from vaporform_mcp.sandboxes.base import MAX_FILE_BATCH_BYTES, FileWrite
from vaporform_mcp.stores.base import OnProgress
from vaporform_mcp.transfer.exchange import Kept, Memory, Plan, Version, plan, version_of
from vaporform_mcp.transfer.folders import Folder
from vaporform_mcp.transfer.pulling import Exchanged
from vaporform_mcp.transfer.scanning import scan_folder, versions_of
from vaporform_mcp.types import Entry, EntryKind, Stat, WorkspacePath
from vaporform_mcp.workspace.files import batches

__all__ = ["Local", "Target", "push", "read_local"]

_CHUNK_BYTES = 1024 * 1024

_AGAIN = "Push again."
_CHANGED_HERE = "it changed while it was read; push again"
_CHANGED = "it changed there while it was being pushed; push again to see"

Tree = Mapping[WorkspacePath, Entry]


class Target(Protocol):
    """The live workspace. `synced` mirrors what its sandbox has now, and answers with the tree."""

    async def synced(self) -> Tree: ...

    async def stats(self, paths: Sequence[WorkspacePath]) -> Mapping[WorkspacePath, Stat]: ...

    async def write(self, files: Sequence[FileWrite]) -> Mapping[WorkspacePath, str]: ...

    async def write_stream(
        self, file: FileWrite, chunks: Callable[[], AsyncIterator[bytes]]
    ) -> Mapping[WorkspacePath, str]: ...

    async def remove(self, paths: Sequence[WorkspacePath]) -> Mapping[WorkspacePath, str]: ...


class Local:
    """The folder as it was read. `hidden` are paths that are there, but left out or not to be read."""

    def __init__(
        self,
        folder: Folder,
        files: Mapping[WorkspacePath, Stat],
        versions: Mapping[WorkspacePath, Version],
        problems: Mapping[WorkspacePath, str],
    ) -> None:
        self.folder = folder
        self.files = files
        self.versions = versions
        self.problems = problems

    def plan(self, tree: Tree, memory: Memory, *, overwrite: bool) -> Plan:
        base = memory.recall()
        hidden = {path for path in base if path not in self.versions and self._may_be_there(path)}
        theirs = {path: version_of(entry) for path, entry in tree.items()}
        return plan(self.versions, theirs, base, hidden=hidden | self.problems.keys(), overwrite=overwrite)

    def _may_be_there(self, path: WorkspacePath) -> bool:
        """One that is ignored since, or lies where nobody may look, was not removed by anybody."""
        try:
            return self.folder.stat(path) is not None
        except OSError:
            return True


async def read_local(
    folder: Folder, exclusions: Exclusions, *, with_ignored: bool, on_progress: OnProgress | None = None
) -> Local:
    """Scan the folder and hash all that is not ignored."""
    scanned = await to_thread.run_sync(partial(scan_folder, folder, exclusions, with_ignored=with_ignored))
    versions, unread = await to_thread.run_sync(versions_of, folder, scanned.files.keys(), on_progress)
    return Local(folder, scanned.files, versions, {**scanned.problems, **unread})


async def push(
    local: Local, target: Target, memory: Memory, *, overwrite: bool, on_progress: OnProgress | None = None
) -> Exchanged:
    """Make the workspace as the folder, where the workspace has nothing newer. Stopped half-way, repeating goes on.

    What was there is mirrored first, so that everything can be undone.
    """
    planned, expected = await _settled(local, target, memory, overwrite=overwrite)
    problems = dict(local.problems)
    # A file written where a link is would be written through it: what becomes another kind goes first.
    kinds = {
        path: stat.kind
        for path in planned.write
        if (stat := expected.get(path)) is not None and stat.kind is not local.files[path].kind
    }
    problems |= await target.remove([*planned.remove, *kinds])
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, len(planned.write))

    def seen(path: WorkspacePath) -> Stat | None:
        return None if overwrite or path in kinds else expected.get(path)

    sizes = {path: local.files[path].size for path in planned.write}
    small = [(path, size) for path, size in sizes.items() if size <= MAX_FILE_BATCH_BYTES]
    for batch in batches(small, max_bytes=MAX_FILE_BATCH_BYTES):
        contents, unread = await to_thread.run_sync(_contents, local, batch)
        files = [_file(local, path, content, seen(path)) for path, content in contents.items()]
        problems |= {**unread, **(await target.write(files))}
        advance(len(batch))
    for path, size in sizes.items():
        if size > MAX_FILE_BATCH_BYTES:
            problems |= await target.write_stream(_file(local, path, b"", seen(path)), partial(_chunks, local, path))
            advance(1)
    tree = await target.synced()
    common = {path: each for path, entry in tree.items() if (each := version_of(entry)) == local.versions.get(path)}
    old = memory.recall()
    unsettled = problems.keys() | {each.path for each in planned.kept}
    memory.keep({**{path: each for path, each in old.items() if path in unsettled}, **common})
    return Exchanged(plan=planned, problems=problems)


async def _settled(
    local: Local, target: Target, memory: Memory, *, overwrite: bool
) -> tuple[Plan, Mapping[WorkspacePath, Stat]]:
    """The plan, and the stats of the files that it was made for: another stat is another, newer file."""
    first = local.plan(await target.synced(), memory, overwrite=overwrite)
    touched = [*first.write, *first.remove]
    expected = await target.stats(touched)
    # What was written between that sync and those stats is newer than the plan knows.
    second = local.plan(await target.synced(), memory, overwrite=overwrite)
    known = set(touched)
    late = [path for path in (*second.write, *second.remove) if path not in known]
    return (
        Plan(
            write=[path for path in second.write if path in known],
            remove=[path for path in second.remove if path in known],
            kept=[*second.kept, *(Kept(path=path, why=_CHANGED) for path in late)],
        ),
        expected,
    )


def _file(local: Local, path: WorkspacePath, content: bytes, expected: Stat | None) -> FileWrite:
    stat = local.files[path]
    return FileWrite(path=path, content=content, mode=stat.mode & 0o777, kind=stat.kind, expected=expected)


def _unreadable(error: OSError) -> str:
    return f"it cannot be read: {error.strerror}"


def _contents(
    local: Local, paths: Sequence[WorkspacePath]
) -> tuple[Mapping[WorkspacePath, bytes], Mapping[WorkspacePath, str]]:
    """What they hold, and which could not be read, and why."""
    found: dict[WorkspacePath, bytes] = {}
    problems: dict[WorkspacePath, str] = {}
    for path in paths:
        stat = local.files[path]
        try:
            if stat.kind is EntryKind.SYMLINK:
                content = local.folder.target(path)
            else:
                with os.fdopen(local.folder.open(path), "rb") as file:
                    content = file.read(stat.size + 1)
            is_as_compared = local.folder.stat(path) == stat
        except OSError as error:
            problems[path] = _unreadable(error)
            continue
        if is_as_compared and len(content) == stat.size:
            found[path] = content
        else:
            problems[path] = _CHANGED_HERE
    return found, problems


async def _chunks(local: Local, path: WorkspacePath) -> AsyncIterator[bytes]:
    """What the file holds. Raises `Conflict` before its end where that is not what was compared."""
    stat = local.files[path]
    left = stat.size
    try:
        with os.fdopen(await to_thread.run_sync(local.folder.open, path), "rb") as file:
            while left >= 0 and (chunk := await to_thread.run_sync(file.read, _CHUNK_BYTES)):
                left -= len(chunk)
                yield chunk
        is_as_compared = await to_thread.run_sync(local.folder.stat, path) == stat
    except OSError as error:
        raise Conflict(_unreadable(error), hint=_AGAIN) from error
    if left or not is_as_compared:
        raise Conflict(_CHANGED_HERE, hint=_AGAIN)
