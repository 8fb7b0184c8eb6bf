"""Reading files out of the sandbox into the store's blobs: what a sync and a rebased write have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio.to_thread

from vaporform_mcp.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, TooLarge, VaporformError
from vaporform_mcp.sandboxes.base import MAX_FILE_BATCH_BYTES, FileContent, FileFault, FileStat, Sandbox
from vaporform_mcp.stores.base import Blob
from vaporform_mcp.types import Entry, EntryKind, Stat, WorkspacePath
from vaporform_mcp.workspace.files import batches, behind_links, digest_of, entry_of, hash_stream
from vaporform_mcp.workspace.mirror import Mirror

__all__ = ["Captured", "capture"]

LARGE_TRIES = 3
THREAD_BYTES = 256 * 1024


@dataclass(slots=True, kw_only=True)
class Captured:
    """`found` are mirrored as blobs and ready to be committed; `gone` no longer exist; `kept` could not be read, and
    why: what the mirror has of them stays."""

    found: dict[WorkspacePath, Entry] = field(default_factory=dict[WorkspacePath, Entry])
    stats: dict[WorkspacePath, Stat] = field(default_factory=dict[WorkspacePath, Stat])
    gone: list[WorkspacePath] = field(default_factory=list[WorkspacePath])
    kept: dict[WorkspacePath, str] = field(default_factory=dict[WorkspacePath, str])


async def capture(
    sandbox: Sandbox, mirror: Mirror, wanted: Sequence[tuple[WorkspacePath, Stat]], *, max_file_bytes: int
) -> Captured:
    """Read `wanted` (with the stats that a scan gave) and put what the store lacks, in bounded memory.

    A file over `max_file_bytes` stays out and is told: it is data, and would cost its size at every change.
    """
    captured = Captured()
    wanted = [item for item in wanted if not _is_over(item, max_file_bytes, captured)]
    small = ((path, stat.size) for path, stat in wanted if stat.size <= MAX_FILE_BATCH_BYTES)
    for batch in batches(small, max_bytes=sandbox.batch.size_bytes, max_files=sandbox.batch.files):
        await _capture_batch(sandbox, mirror, batch, captured)
    for path, stat in wanted:
        if stat.size > MAX_FILE_BATCH_BYTES:
            await _capture_large(sandbox, mirror, path, stat, captured)
    return captured


def _is_over(item: tuple[WorkspacePath, Stat], max_file_bytes: int, captured: Captured) -> bool:
    path, stat = item
    if stat.size > max_file_bytes:
        captured.kept[path] = (
            f"{stat.size:,} bytes, over the {max_file_bytes // 1024**2} MiB of VAPORFORM_MIRROR__FILE_MB"
        )
    return stat.size > max_file_bytes


async def _capture_batch(sandbox: Sandbox, mirror: Mirror, batch: list[WorkspacePath], captured: Captured) -> None:
    again: list[tuple[WorkspacePath, Stat]] = []
    contents: list[FileContent] = []
    for result in await sandbox.read_files(batch, max_bytes=MAX_FILE_BATCH_BYTES, follow=False):
        match result:
            case FileContent(path=path, elsewhere=True):
                captured.gone.append(path)  # a link on its way has shown another folder's file
            case FileContent():
                contents.append(result)
            case FileFault(path=path, error=TooLarge()) if len(batch) > 1:
                # It grew since the scan, or the batch did: alone it fits, or it is streamed.
                again += [
                    (item.path, item.stat) for item in await sandbox.stat_files([path]) if isinstance(item, FileStat)
                ]
            case FileFault(path=path, error=error):
                _fault(captured, path, error)
    blobs = await _hashed(contents, captured)
    missing = await mirror.missing(frozenset(blob.digest for blob in blobs))
    if lacking := list({blob.digest: blob for blob in blobs if blob.digest in missing}.values()):
        await mirror.put(lacking)
    for path, stat in again:
        if stat.size > MAX_FILE_BATCH_BYTES:
            await _capture_large(sandbox, mirror, path, stat, captured)
        else:
            await _capture_batch(sandbox, mirror, [path], captured)


async def _hashed(contents: list[FileContent], captured: Captured) -> list[Blob]:
    def work() -> list[Blob]:
        blobs: list[Blob] = []
        for file in contents:
            entry = entry_of(file.path, file.stat, digest_of(file.content), file.content)
            captured.found[file.path] = entry
            captured.stats[file.path] = file.stat
            blobs.append(Blob(digest=entry.digest, content=file.content, mime_type=entry.mime_type))
        return blobs

    if sum(len(file.content) for file in contents) < THREAD_BYTES:
        return work()
    return await anyio.to_thread.run_sync(work)


async def _capture_large(sandbox: Sandbox, mirror: Mirror, path: WorkspacePath, stat: Stat, captured: Captured) -> None:
    if stat.kind is not EntryKind.FILE:
        return
    try:
        for _ in range(LARGE_TRIES):
            before = (await sandbox.stat_files([path]))[0]
            if isinstance(before, FileFault):
                raise before.error
            if before is None:
                captured.gone.append(path)
                return
            try:
                digest, size, head = await hash_stream(sandbox.read_stream(path))
                entry = entry_of(path, before.stat, digest, head)
                if await mirror.missing(frozenset({digest})):
                    await mirror.put_large(digest, size, sandbox.read_stream(path), entry.mime_type)
            except (Conflict, InvalidArgument):
                continue  # it changed while it was read, or between the two readings
            after = (await sandbox.stat_files([path]))[0]
            # Looked at last: a folder that became a link to another before it was read has shown that one's file.
            if await behind_links(sandbox, [path]):
                captured.gone.append(path)
                return
            if after == before:
                captured.found[path], captured.stats[path] = entry, before.stat
                return
        captured.kept[path] = "kept changing while it was read"
    except (InvalidArgument, NotFound, PermissionDenied) as error:
        _fault(captured, path, error)


def _fault(captured: Captured, path: WorkspacePath, error: VaporformError) -> None:
    if isinstance(error, NotFound):
        captured.gone.append(path)
    else:
        captured.kept[path] = error.message
