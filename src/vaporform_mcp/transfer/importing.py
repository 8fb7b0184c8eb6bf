"""Somebody else's workspace, made one's own: checked first, and shown only when it is complete."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from vaporform_mcp.care.unfinished import forget_unfinished, importer_for
from vaporform_mcp.errors import Conflict, InvalidArgument, VaporformError
from vaporform_mcp.history import parse_label
from vaporform_mcp.stores.base import OnProgress, Store
from vaporform_mcp.transfer.copying import Copied, copy_history
from vaporform_mcp.transfer.histories import faults_in_history, kept_revisions
from vaporform_mcp.types import Spec, WorkspaceName, WorkspaceRecord

__all__ = ["check_workspace", "import_workspace"]

_UNDO_LIMIT_S = 30.0
_NAMED = 3
_SHOWN_CHARS = 200  # of a path that may be of any length


async def check_workspace(source: Store, record: WorkspaceRecord, on_progress: OnProgress | None = None) -> None:
    """Raises `InvalidArgument` where a content is not what its digest says, or a path or label could not be ours."""
    faults = await faults_in_history(source, record.id)
    if faults:
        named = "; ".join(f"{path[:_SHOWN_CHARS]!r}: {why}" for path, why in sorted(faults.items())[:_NAMED])
        raise InvalidArgument(
            f"the workspace {record.name} has paths that it must not have: {named}",
            hint="Nothing was imported. No server of this project makes such a file: ask where it comes from.",
        )
    for revision in await kept_revisions(source, record.id):
        if revision.label is not None:
            _check_label(record, revision.label)
    report = await source.verify(record.id, on_progress=on_progress)
    bad = [*report.missing, *report.corrupt]
    if bad:
        raise InvalidArgument(
            f"{len(bad)} contents of {record.name} are missing or not what their digests say, such as {bad[0]}",
            hint="Nothing was imported. Have it exported again.",
        )


def _check_label(record: WorkspaceRecord, label: str) -> None:
    try:
        parse_label(label)
    except InvalidArgument as error:
        raise InvalidArgument(
            f"the workspace {record.name} has a label that it must not have: {error.message}",
            hint="Nothing was imported. No server of this project makes such a file: ask where it comes from.",
        ) from error


async def import_workspace(
    source: Store,
    record: WorkspaceRecord,
    target: Store,
    *,
    owner: str,
    name: WorkspaceName,
    provider: str,
    on_progress: OnProgress | None = None,
) -> Copied:
    """Take a workspace over under a new id, so that no sandbox of another one is taken for its own.

    Until it is complete it is nobody's; what a killed import has left is forgotten by a later one, or when workspaces
    are listed, after a day. What the other machine knew of itself (sandbox, ports, commands that were run) stays here.

    Raises:
        Conflict: the owner has a workspace of that name.
    """
    if await target.get_workspace(owner, name) is not None:
        raise Conflict(f"there is a workspace {name} already", hint="Give another name: `import FILE NAME`.")
    now = time.time()
    await forget_unfinished(target, owner, now=now)
    spec = Spec(provider=provider, git_url=record.spec.git_url, git_branch=record.spec.git_branch)
    made = await target.create_workspace(
        WorkspaceRecord(
            id=uuid.uuid4().hex[:16],
            owner=importer_for(owner),
            name=name,
            spec=spec,
            created_at=record.created_at,
            last_used_at=now,
            deleted_at=now,
        )
    )
    async with _undone_on_failure(target, made):
        copied = await copy_history(source, record.id, target, made.id, on_progress)
        if copied.lost:
            # Changed since it was checked, or marked as damaged although it is whole.
            raise InvalidArgument(
                f"the content of {copied.lost[0].path!r} cannot be had from it",
                hint="Nothing was imported. Have it exported again.",
            )
        await target.update_workspace(replace(made, owner=owner, deleted_at=None))
    return copied


@asynccontextmanager
async def _undone_on_failure(target: Store, made: WorkspaceRecord) -> AsyncGenerator[None]:
    try:
        yield
    except BaseException as failure:
        with anyio.move_on_after(_UNDO_LIMIT_S, shield=True):
            try:
                await target.delete_workspace(made.id, version=made.version)
            except VaporformError as error:
                failure.add_note(f"what was imported is left for a day: {error.message}")
        raise
