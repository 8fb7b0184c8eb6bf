"""Restore: write a whole tree from the mirror into a fresh sandbox, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from vaporform_mcp.errors import LimitReached, NotFound, Unavailable, VaporformError
from vaporform_mcp.sandboxes.base import MAX_FILE_BATCH_BYTES, FileFault, FileStat, FileWrite, Sandbox
from vaporform_mcp.stores.base import Store
from vaporform_mcp.trees import faults_of
from vaporform_mcp.types import Entry, EntryKind, WorkspacePath
from vaporform_mcp.workspace.files import batches, load_blobs

__all__ = ["restore_tree"]

_DAMAGED = "its content is missing or damaged in the store"


async def restore_tree(
    sandbox: Sandbox,
    store: Store,
    tree: Mapping[WorkspacePath, Entry],
    on_progress: Callable[[int, int], None],
) -> Mapping[WorkspacePath, str]:
    """Write every entry; answers with the problems: which path could not be written, and why.

    `on_progress` is told how many of how many files are written. A blob that is missing or corrupt, or a path that
    leads out of the workspace, costs its own file alone, named in the answer; a sandbox or store that fails ends the
    restore, to be repeated from the start.

    Raises:
        LimitReached: the sandbox's disk is full.
    """
    problems = dict(faults_of(tree))
    done = len(problems)

    async def write_small(entries: Collection[WorkspacePath]) -> None:
        nonlocal done
        sizes = ((path, tree[path].size) for path in entries)
        for batch in batches(sizes, max_bytes=sandbox.batch.size_bytes, max_files=sandbox.batch.files):
            problems.update(await _write_batch(sandbox, store, {path: tree[path] for path in batch}))
            done += len(batch)
            on_progress(done, len(tree))

    sound = {path: tree[path] for path in sorted(tree) if path not in problems}
    files = [path for path, entry in sound.items() if entry.kind is not EntryKind.SYMLINK]
    await write_small([path for path in files if tree[path].size <= MAX_FILE_BATCH_BYTES])
    for path in files:
        if tree[path].size > MAX_FILE_BATCH_BYTES:
            problems.update(await _write_large(sandbox, store, path, tree[path]))
            done += 1
            on_progress(done, len(tree))
    # Last: one that stands where a later file's folder should be would lead it astray.
    await write_small([path for path, entry in sound.items() if entry.kind is EntryKind.SYMLINK])
    return problems


async def _write_batch(
    sandbox: Sandbox, store: Store, entries: Mapping[WorkspacePath, Entry]
) -> Mapping[WorkspacePath, str]:
    blobs = await load_blobs(store, {entry.digest for entry in entries.values()})
    problems: dict[WorkspacePath, str] = {}
    writes: list[FileWrite] = []
    for path, entry in entries.items():
        content = blobs.get(entry.digest)
        if content is None or len(content) != entry.size:
            problems[path] = _DAMAGED
        else:
            writes.append(FileWrite(path=path, content=content, mode=entry.mode, kind=entry.kind))
    return problems | _faults(await sandbox.write_files(writes)) if writes else problems


async def _write_large(
    sandbox: Sandbox, store: Store, path: WorkspacePath, entry: Entry
) -> Mapping[WorkspacePath, str]:
    try:
        await sandbox.write_stream(path, store.stream_blob(entry.digest), mode=entry.mode)
    except NotFound:
        return {path: _DAMAGED}
    except (LimitReached, Unavailable):
        raise
    except VaporformError as error:
        return {path: error.message}
    return {}


def _faults(results: Sequence[FileStat | FileFault]) -> dict[WorkspacePath, str]:
    faults = [result for result in results if isinstance(result, FileFault)]
    for fault in faults:
        if isinstance(fault.error, LimitReached):
            raise fault.error
    return {fault.path: fault.error.message for fault in faults}
