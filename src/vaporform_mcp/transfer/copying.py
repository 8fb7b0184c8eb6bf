"""A workspace's contents and history, taken from one store into another. Repeated, it finishes what was begun."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.stores.base import MAX_BLOB_BATCH_BYTES, Adopted, Blob, OnProgress, Store
from vaporform_mcp.transfer.histories import history, kept_revisions
from vaporform_mcp.types import Change, Digest, Entry, Revision, WorkspacePath, WorkspaceRecord
from vaporform_mcp.workspace.files import batches, load_blobs

__all__ = ["Copied", "Lost", "copy_history", "copy_workspace"]

Advance = Callable[[], None]

_REVISIONS_AT_ONCE = 200
_CHANGES_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A path whose content the source does not have whole: from that revision on, the copy is without it."""

    path: WorkspacePath
    revision: int


@dataclass(slots=True, kw_only=True)
class Copied:
    """What was copied now; what was there already is not counted."""

    revisions: int = 0
    contents: int = 0
    size_bytes: int = 0
    lost: list[Lost] = field(default_factory=list[Lost])


async def copy_workspace(
    source: Store, record: WorkspaceRecord, target: Store, on_progress: OnProgress | None = None
) -> Copied:
    """Copy a workspace as it is, its id with it, so that its sandbox stays its own.

    Raises:
        Conflict: the target has another one of that name, or has gone on with this one by itself.
    """
    kept = await target.create_workspace(replace(record, version=0))
    if kept.deleted_at is not None:
        raise Conflict(
            f"the workspace {record.name} lies in the trash of the store that it would be copied to",
            hint="Take it out there with `vaporform-mcp undelete`, then repeat.",
        )
    return await copy_history(source, record.id, target, record.id, on_progress)


async def copy_history(
    source: Store, source_id: str, target: Store, target_id: str, on_progress: OnProgress | None = None
) -> Copied:
    """Copy every kept revision that the target lacks, contents first.

    Stopped half-way, what is there is a history that ends earlier, and repeating goes on from there. Each content is
    verified on its way. Raises `Conflict` where the target's history is not the beginning of the source's.
    """
    kept = await kept_revisions(source, source_id)
    rest, after = await _rest(kept, target, target_id)
    copied = Copied()
    contents = (await source.count(source_id)).files if rest else 0
    total = len(rest) + contents

    def advance() -> None:
        if on_progress is not None:
            # How many contents there are is known of the newest tree alone; the past is little beside it.
            on_progress(copied.revisions + min(copied.contents, contents), total)

    batch: list[Adopted] = []
    size = 0
    async with aclosing(history(source, source_id, rest, after=after)) as steps:
        async for step in steps:
            batch.append(step)
            size += len(step.changes)
            if len(batch) >= _REVISIONS_AT_ONCE or size >= _CHANGES_AT_ONCE:
                await _copy_batch(source, target, target_id, batch, copied, advance)
                batch, size = [], 0
    await _copy_batch(source, target, target_id, batch, copied, advance)
    return copied


async def _rest(kept: Sequence[Revision], target: Store, target_id: str) -> tuple[Sequence[Revision], int]:
    """What is still to be copied, and the number of the revision that it follows."""
    newest = next(iter(await target.log(target_id, limit=1)), None)
    if newest is None:
        return kept, 0
    for position, revision in enumerate(kept):
        if (revision.number, revision.id) == (newest.number, newest.id):
            return kept[position + 1 :], revision.number
    raise Conflict(
        f"the copy has a history of its own: its revision {newest.number} is not one of those that would be copied",
        hint="Keep the one that you go on with, and delete or rename the other.",
    )


async def _copy_batch(
    source: Store,
    target: Store,
    target_id: str,
    batch: Sequence[Adopted],
    copied: Copied,
    advance: Advance,
) -> None:
    if not batch:
        return
    entries = {change.entry.digest: change.entry for step in batch for change in step.changes if change.entry}
    lost = await _copy_contents(source, target, entries, copied, advance)
    if lost:
        batch = [_without(step, lost, copied) for step in batch]
    await target.adopt(target_id, batch)
    copied.revisions += len(batch)
    advance()


async def _copy_contents(
    source: Store, target: Store, entries: Mapping[Digest, Entry], copied: Copied, advance: Advance
) -> Collection[Digest]:
    """Put what the target lacks; answers with what the source does not have whole."""
    lacking = [entries[digest] for digest in await target.missing(entries.keys())]
    lost: set[Digest] = set()
    small = ((entry.digest, entry.size) for entry in lacking if entry.size <= MAX_BLOB_BATCH_BYTES)
    for digests in batches(small, max_bytes=MAX_BLOB_BATCH_BYTES):
        found = await load_blobs(source, digests)
        await target.put_blobs(
            [
                Blob(digest=digest, content=content, mime_type=entries[digest].mime_type)
                for digest, content in found.items()
            ]
        )
        lost.update(digest for digest in digests if digest not in found)
        copied.contents += len(found)
        copied.size_bytes += sum(len(content) for content in found.values())
        advance()
    for entry in lacking:
        if entry.size > MAX_BLOB_BATCH_BYTES:
            try:
                await target.put_large_blob(entry.digest, entry.size, source.stream_blob(entry.digest), entry.mime_type)
            except NotFound:
                lost.add(entry.digest)
                continue
            copied.contents += 1
            copied.size_bytes += entry.size
            advance()
    return lost


def _without(step: Adopted, lost: Collection[Digest], copied: Copied) -> Adopted:
    changes: list[Change] = []
    for change in step.changes:
        if change.entry is not None and change.entry.digest in lost:
            copied.lost.append(Lost(path=change.path, revision=step.revision.number))
            changes.append(Change(path=change.path, entry=None))
        else:
            changes.append(change)
    return Adopted(revision=step.revision, changes=changes)
