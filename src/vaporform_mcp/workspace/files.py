"""Files on their way between the sandbox and the mirror: where they are, in batches, and as the mirror's entries."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from vaporform_mcp.errors import TooLarge
from vaporform_mcp.mime import mime_type
from vaporform_mcp.sandboxes.base import FileStat, Sandbox
from vaporform_mcp.stores.base import Store
from vaporform_mcp.trees import folders_of
from vaporform_mcp.types import Digest, Entry, EntryKind, Stat, WorkspacePath

__all__ = ["HEAD_BYTES", "batches", "behind_links", "digest_of", "entry_of", "hash_stream", "load_blobs"]

T = TypeVar("T")

HEAD_BYTES = 512
BATCH_FILES = 500
_SYMLINK_TYPE = "inode/symlink"


def digest_of(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest())


def entry_of(path: WorkspacePath, stat: Stat, digest: Digest, head: bytes) -> Entry:
    """`head` is the first bytes of the content, from which the type of a nameless file is told."""
    kind = _SYMLINK_TYPE if stat.kind is EntryKind.SYMLINK else mime_type(path, head[:HEAD_BYTES])
    return Entry(kind=stat.kind, mode=stat.mode, size=stat.size, digest=digest, mime_type=kind)


async def behind_links(sandbox: Sandbox, paths: Collection[WorkspacePath]) -> Mapping[WorkspacePath, WorkspacePath]:
    """Those that a symbolic link on their way leads elsewhere, and the link: no files of their own lie there."""
    folders = {folder for path in paths for folder in folders_of(path)}
    found: Sequence[object] = await sandbox.stat_files(sorted(folders)) if folders else ()
    links = {item.path for item in found if isinstance(item, FileStat) and item.stat.kind is EntryKind.SYMLINK}
    on_their_way = ((path, next((folder for folder in folders_of(path) if folder in links), None)) for path in paths)
    return {path: link for path, link in on_their_way if link is not None} if links else {}


def batches(sizes: Iterable[tuple[T, int]], *, max_bytes: int, max_files: int = BATCH_FILES) -> Iterator[list[T]]:
    """What has these sizes, in its order, as many at once as fit into `max_bytes`. A larger one goes alone."""
    batch: list[T] = []
    room = max_bytes
    for each, size in sizes:
        if batch and (len(batch) == max_files or size > room):
            yield batch
            batch, room = [], max_bytes
        batch.append(each)
        room -= size
    if batch:
        yield batch


async def hash_stream(chunks: AsyncIterator[bytes]) -> tuple[Digest, int, bytes]:
    """The digest, the size and the first bytes of what the stream gives."""
    hashed = hashlib.sha256()
    size, head = 0, b""
    async for chunk in chunks:
        hashed.update(chunk)
        size += len(chunk)
        if len(head) < HEAD_BYTES:
            head += chunk[: HEAD_BYTES - len(head)]
    return Digest(hashed.hexdigest()), size, head


async def load_blobs(store: Store, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
    """Those that are whole. One that is far larger than its entry says is left out, and keeps no other from coming."""
    try:
        return await store.get_blobs(digests)
    except TooLarge:
        if len(digests) == 1:
            return {}
    loaded: dict[Digest, bytes] = {}
    for digest in digests:
        loaded |= await load_blobs(store, {digest})
    return loaded
