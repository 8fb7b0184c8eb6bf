"""A change of a workspace's record, against what other servers change in it at the same time."""

from __future__ import annotations

from collections.abc import Callable

from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import WorkspaceRecord

__all__ = ["update_record"]

UPDATE_TRIES = 10


async def update_record(
    store: Store, record: WorkspaceRecord, change: Callable[[WorkspaceRecord], WorkspaceRecord]
) -> WorkspaceRecord:
    """The record as the store has it, changed. `change` may be called more than once.

    Raises `NotFound` where it went into the trash meanwhile, `Conflict` where others never stop changing it.
    """
    for _ in range(UPDATE_TRIES):
        kept = await store.get_workspace(record.owner, record.name)
        if kept is None or kept.id != record.id:
            raise NotFound(
                f"the workspace {record.name} was deleted meanwhile", hint="Open it again to make a new one."
            )
        try:
            return await store.update_workspace(change(kept))
        except Conflict:
            continue
    raise Conflict(f"other servers keep changing the workspace {record.name}", hint="Repeat the call.")
