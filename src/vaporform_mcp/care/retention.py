"""Which revisions are kept: the newest so many, and those of the last so many days; checkpoints stay by themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Revision

__all__ = ["Retention", "newest_to_drop", "revisions"]

_PAGE = 1000
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """A revision is kept where either says so. The newest one always is."""

    last: int
    days: float

    def keeps(self, revision: Revision, *, position: int, now: float) -> bool:
        """`position` counts from 0, the newest."""
        return position < max(self.last, 1) or revision.time > now - self.days * _DAY_S


async def newest_to_drop(store: Store, workspace_id: str, retention: Retention, now: float) -> int:
    """The number up to which revisions go; 0 where all are kept.

    Everything newer than the oldest that is kept stays too: clocks differ, and a history has no holes but checkpoints'
    surroundings.
    """
    oldest_kept = 0
    position = 0
    async with aclosing(revisions(store, workspace_id)) as log:
        async for revision in log:
            if retention.keeps(revision, position=position, now=now):
                oldest_kept = revision.number
            position += 1
    return max(0, oldest_kept - 1)


async def revisions(store: Store, workspace_id: str) -> AsyncGenerator[Revision]:
    """All that are kept, newest first."""
    before: int | None = None
    while page := await store.log(workspace_id, before=before, limit=_PAGE):
        for revision in page:
            yield revision
        before = page[-1].number
