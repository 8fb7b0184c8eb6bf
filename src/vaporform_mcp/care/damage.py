"""Which files of which revisions are meant when a content is missing or damaged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from vaporform_mcp.care.retention import revisions
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Digest, WorkspacePath, WorkspaceRecord

__all__ = ["Affected", "affected_by"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """A path that has the content from revision `first` to `last`; `last` is None where it has it now."""

    workspace: str
    path: WorkspacePath
    digest: Digest
    first: int
    last: int | None


async def affected_by(store: Store, record: WorkspaceRecord, digests: Collection[Digest]) -> Sequence[Affected]:
    """Where in a workspace's kept history the contents are, oldest first. Reads that history once."""
    bad = frozenset(digests)
    async with aclosing(revisions(store, record.id)) as log:
        numbers = [revision.number async for revision in log]
    since: dict[WorkspacePath, tuple[Digest, int]] = {}
    found: list[Affected] = []
    after = 0
    for number in reversed(numbers):
        for change in await store.changes(record.id, after=after, upto=number):
            if (begun := since.pop(change.path, None)) is not None:
                found.append(_affected(record, change.path, begun, after))
            if change.entry is not None and change.entry.digest in bad:
                since[change.path] = (change.entry.digest, number)
        after = number
    found += [_affected(record, path, begun, None) for path, begun in since.items()]
    return sorted(found, key=lambda each: (each.first, each.path))


def _affected(record: WorkspaceRecord, path: WorkspacePath, begun: tuple[Digest, int], last: int | None) -> Affected:
    digest, first = begun
    return Affected(workspace=record.name, path=path, digest=digest, first=first, last=last)
