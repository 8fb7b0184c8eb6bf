"""A tree of the store, written as plain files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from anyio import to_thread

from vaporform_mcp.errors import LimitReached, NotFound
from vaporform_mcp.stores.base import MAX_BLOB_BATCH_BYTES, OnProgress, Store
from vaporform_mcp.transfer.folders import Folder, told
from vaporform_mcp.trees import faults_of, is_in_repository
from vaporform_mcp.types import Entry, EntryKind, WorkspacePath
from vaporform_mcp.workspace.files import batches, load_blobs

__all__ = ["CHANGED", "export_tree"]

CHANGED = "it changed here meanwhile, and is kept; repeat the command to see"
_KEPT_REPOSITORY = ".git/vaporform/"
_REPOSITORY = "refused: a git repository's hooks and settings would run programs on this machine"
_LOST = "its content is missing or damaged in the store"


async def export_tree(
    store: Store,
    tree: Mapping[WorkspacePath, Entry],
    folder: Folder,
    *,
    mtime: float | None = None,
    may_replace: Callable[[WorkspacePath], bool] = lambda _path: True,
    on_progress: OnProgress | None = None,
) -> Mapping[WorkspacePath, str]:
    """Write every entry into the folder; answers with those that could not be, and why. The rest is there.

    Contents are verified before a file is shown. `mtime` (seconds since the Unix epoch) becomes that of each file, in
    the place of now. `may_replace`, which may block, is asked of each path right before something is put there.
    Symbolic links come last, and are never followed. Of a git repository only what the mirror itself keeps of it is
    written, since the rest would run here what a sandbox wrote.

    Raises:
        LimitReached: the disk is full.
    """
    problems = dict(faults_of(tree))
    problems |= {path: _REPOSITORY for path in tree if is_in_repository(path) and not path.startswith(_KEPT_REPOSITORY)}
    wanted = [(path, entry) for path, entry in sorted(tree.items()) if path not in problems]
    wanted.sort(key=lambda item: item[1].kind is EntryKind.SYMLINK)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, len(wanted))

    small = ((path, entry.size) for path, entry in wanted if entry.size <= MAX_BLOB_BATCH_BYTES)
    for batch in batches(small, max_bytes=MAX_BLOB_BATCH_BYTES):
        blobs = await load_blobs(store, {tree[path].digest for path in batch})
        found = [(path, tree[path], blobs[tree[path].digest]) for path in batch if tree[path].digest in blobs]
        problems |= {path: _LOST for path in batch if tree[path].digest not in blobs}
        problems |= await to_thread.run_sync(_write_batch, folder, found, mtime, may_replace)
        advance(len(batch))
    for path, entry in wanted:
        if entry.size > MAX_BLOB_BATCH_BYTES:
            problems |= await _write_large(store, path, entry, folder, mtime, may_replace)
            advance(1)
    return problems


def _write_batch(
    folder: Folder,
    found: Sequence[tuple[WorkspacePath, Entry, bytes]],
    mtime: float | None,
    may_replace: Callable[[WorkspacePath], bool],
) -> Mapping[WorkspacePath, str]:
    problems: dict[WorkspacePath, str] = {}
    for path, entry, content in found:
        try:
            if not may_replace(path):
                problems[path] = CHANGED
            elif entry.kind is EntryKind.SYMLINK:
                folder.link(path, content, mtime=mtime)
            else:
                folder.write(path, content, mode=entry.mode, mtime=mtime)
        except OSError as error:
            problems |= _problem(path, error)
    return problems


async def _write_large(
    store: Store,
    path: WorkspacePath,
    entry: Entry,
    folder: Folder,
    mtime: float | None,
    may_replace: Callable[[WorkspacePath], bool],
) -> Mapping[WorkspacePath, str]:
    try:
        incoming = await to_thread.run_sync(folder.start, path)
    except OSError as error:
        return _problem(path, error)
    try:
        async for chunk in store.stream_blob(entry.digest):
            await to_thread.run_sync(folder.extend, incoming, chunk)
        if not await to_thread.run_sync(may_replace, path):
            folder.discard(incoming)
            return {path: CHANGED}
        await to_thread.run_sync(partial(folder.finish, incoming, mode=entry.mode, mtime=mtime))
    except NotFound:
        folder.discard(incoming)
        return {path: _LOST}
    except OSError as error:
        folder.discard(incoming)
        return _problem(path, error)
    except BaseException:
        folder.discard(incoming)
        raise
    return {}


def _problem(path: WorkspacePath, error: OSError) -> Mapping[WorkspacePath, str]:
    fault = told(error, repr(path))
    if isinstance(fault, LimitReached):
        raise fault from error
    return {path: fault.message}
