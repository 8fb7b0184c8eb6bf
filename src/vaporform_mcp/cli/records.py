"""A person's workspaces, found in the store by the name that was typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from vaporform_mcp.app import OWNER
from vaporform_mcp.errors import NotFound
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Revision, WorkspaceRecord, parse_name

__all__ = ["all_records", "find_record", "find_revision"]


async def find_record(store: Store, raw: str) -> WorkspaceRecord:
    """Raises `NotFound`, which names the nearest, and `InvalidArgument`."""
    name = parse_name(raw)
    record = await store.get_workspace(OWNER, name)
    if record is None:
        names = [each.name for each in await store.list_workspaces(OWNER)]
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`vaporform-mcp workspaces` lists them."
        raise NotFound(f"there is no workspace {name}", hint=hint)
    return record


async def all_records(store: Store) -> Sequence[WorkspaceRecord]:
    """Those in the trash too, which keep their history."""
    return [*await store.list_workspaces(OWNER), *await store.list_workspaces(OWNER, deleted=True)]


async def find_revision(store: Store, record: WorkspaceRecord, at: str | None) -> Revision | None:
    """The revision of a number or label; the newest where none is asked for, None where there is none at all."""
    if at is None:
        return next(iter(await store.log(record.id, limit=1)), None)
    found = await store.labelled(record.id, at)
    if found is None and at.isascii() and at.isdigit():
        found = next(iter(await store.log(record.id, before=int(at) + 1, limit=1)), None)
        found = found if found is not None and found.number == int(at) else None
    if found is None:
        raise NotFound(
            f"{record.name} has no revision or checkpoint {at!r}", hint="`vaporform-mcp history` lists them."
        )
    return found
