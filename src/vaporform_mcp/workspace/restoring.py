"""Restore: write a whole tree from the mirror into a fresh sandbox, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vaporform_mcp.errors import LimitReached, NotFound
from vaporform_mcp.sandboxes.base import MAX_FILE_BATCH_BYTES, FileFault, FileStat, FileWrite, Sandbox
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Entry, EntryKind, WorkspacePath
from vaporform_mcp.workspace.files import batches

__all__ = ["restore_tree"]

_DAMAGED = "its content is missing or damaged in the store"


async def restore_tree(
    sandbox: Sandbox,
    store: Store,
    tree: Mapping[WorkspacePath, Entry],
    on_progress: Callable[[int, int], None],
) -> Mapping[WorkspacePath, str]:
    """Write every entry; answers with the problems: which path could not be written, and why.

    `on_progress` is told how many of how many files are written. A blob that is missing or corrupt costs its own file
    alone, named in the answer; a sandbox or store that fails ends the restore, to be repeated from the start.

    Raises:
        LimitReached: the sandbox's disk is full.
    """
    problems: dict[WorkspacePath, str] = {}
    done = 0
    # Symlinks last: one that stands where a later file's folder should be would lead it astray.
    ordered = sorted(tree.items(), key=lambda item: (item[1].kind is EntryKind.SYMLINK, item[0]))
    small = ((path, entry.size) for path, entry in ordered if entry.size <= MAX_FILE_BATCH_BYTES)
    for batch in batches(small, max_bytes=MAX_FILE_BATCH_BYTES):
        blobs = await store.get_blobs({tree[path].digest for path in batch})
        writes: list[FileWrite] = []
        for path in batch:
            entry = tree[path]
            content = blobs.get(entry.digest)
            if content is None:
                problems[path] = _DAMAGED
            else:
                writes.append(FileWrite(path=path, content=content, mode=entry.mode, kind=entry.kind))
        if writes:
            problems |= _faults(await sandbox.write_files(writes))
        done += len(batch)
        on_progress(done, len(tree))
    for path, entry in tree.items():
        if entry.size <= MAX_FILE_BATCH_BYTES:
            continue
        try:
            await sandbox.write_stream(path, store.stream_blob(entry.digest), mode=entry.mode)
        except NotFound:
            problems[path] = _DAMAGED
        done += 1
        on_progress(done, len(tree))
    return problems


def _faults(results: Sequence[FileStat | FileFault]) -> dict[WorkspacePath, str]:
    faults = [result for result in results if isinstance(result, FileFault)]
    for fault in faults:
        if isinstance(fault.error, LimitReached):
            raise fault.error
    return {fault.path: fault.error.message for fault in faults}
