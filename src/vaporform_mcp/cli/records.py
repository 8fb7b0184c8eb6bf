"""A person's workspaces, found in the store by the name that was typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from vaporform_mcp.app import OWNER
from vaporform_mcp.errors import NotFound
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import WorkspaceName, WorkspaceRecord, parse_name

__all__ = ["all_records", "find_record", "no_record"]


async def find_record(store: Store, raw: str) -> WorkspaceRecord:
    """Raises `NotFound`, which names the nearest, and `InvalidArgument`."""
    name = parse_name(raw)
    record = await store.get_workspace(OWNER, name)
    if record is None:
        raise no_record(name, [each.name for each in await store.list_workspaces(OWNER)])
    return record


def no_record(name: WorkspaceName, names: Sequence[str]) -> NotFound:
    """What is said where none of `names` is the one that was typed."""
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`vaporform-mcp workspaces` lists them."
    return NotFound(f"there is no workspace {name}", hint=hint)


async def all_records(store: Store) -> Sequence[WorkspaceRecord]:
    """Those in the trash too, which keep their history."""
    return [*await store.list_workspaces(OWNER), *await store.list_workspaces(OWNER, deleted=True)]
