"""Pruning of many workspaces of one store, or the forecast of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaporform_mcp.care.retention import Retention, newest_to_drop
from vaporform_mcp.stores.base import OnProgress, PruneReport, Store
from vaporform_mcp.types import WorkspaceRecord

__all__ = ["Pruned", "Wanted", "prune_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Without a retention no revision goes; contents that nothing names go once nobody put them for `grace_s`."""

    retention: Retention | None
    grace_s: float
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went, or would go. `workspaces` has how many revisions of each, by name.

    A forecast counts a content that several workspaces give up for none of them, so it may be low there.
    """

    revisions: int
    blobs: int
    size_bytes: int
    workspaces: Mapping[str, int]


async def prune_all(
    store: Store,
    records: Sequence[WorkspaceRecord],
    wanted: Wanted,
    *,
    now: float,
    on_progress: OnProgress | None = None,
) -> Pruned:
    """One workspace after the other. Stopped half-way it leaves only what the next call removes."""
    reports: list[PruneReport] = []
    for done, record in enumerate(records):
        if on_progress is not None:
            on_progress(done, len(records))
        keep_after = 0
        if wanted.retention is not None:
            keep_after = await newest_to_drop(store, record.id, wanted.retention, now)
        reports.append(
            await store.prune(record.id, keep_after=keep_after, grace_s=wanted.grace_s, dry_run=wanted.dry_run)
        )
    twice = PruneReport(revisions=0, blobs=0, size_bytes=0)
    if wanted.dry_run and records:
        # Each forecast counts what nothing names already; a real run meets that once.
        twice = await store.prune(records[0].id, keep_after=0, grace_s=wanted.grace_s, dry_run=True)
    again = max(0, len(records) - 1)
    by_name: dict[str, int] = {}
    for record, report in zip(records, reports, strict=True):
        by_name[record.name] = by_name.get(record.name, 0) + report.revisions  # the trash may have the same name
    return Pruned(
        revisions=sum(report.revisions for report in reports),
        blobs=sum(report.blobs for report in reports) - again * twice.blobs,
        size_bytes=sum(report.size_bytes for report in reports) - again * twice.size_bytes,
        workspaces=by_name,
    )
