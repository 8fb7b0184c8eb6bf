"""Time travel in one workspace: its history, what differs between points of it, new checkpoints, and going back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import anyio

from vaporform_mcp import history
from vaporform_mcp.errors import Conflict, StoreUnavailable, VaporformError
from vaporform_mcp.history import Point
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import WorkspacePath
from vaporform_mcp.workspace.errands import Errands
from vaporform_mcp.workspace.results import Checkpoint, Diff, History, Restored
from vaporform_mcp.workspace.rewinding import OnProgress, check_path
from vaporform_mcp.workspace.syncing import SyncReport

__all__ = ["Traveller"]


class Sync(Protocol):
    async def __call__(self, *, made_by: str, label: str | None = None) -> SyncReport: ...


Rewind = Callable[[Point, WorkspacePath, OnProgress], Awaitable[Restored]]


class Traveller:
    """`sync` makes the mirror equal to the sandbox, `rewind` the sandbox to a point; all else is asked of the store.

    `notify` is told what came of a restore that nobody waited for.
    """

    def __init__(
        self, store: Store, workspace_id: str, sync: Sync, rewind: Rewind, notify: Callable[[str], None]
    ) -> None:
        self._store = store
        self._workspace_id = workspace_id
        self._sync = sync
        self._rewind = rewind
        self._notify = notify
        self._restores = Errands[Restored](self._tell)
        self._syncs = Errands[SyncReport]()

    async def run(self) -> None:
        """Do what is asked for, however long its caller waits; never returns."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._restores.run)
            group.start_soon(self._syncs.run)

    async def settle(self) -> None:
        """Until no restore is under way: one that is cut off costs the sandbox."""
        await self._restores.settle()

    async def find(self, point: str) -> Point:
        return await history.find(self._store, self._workspace_id, point)

    async def history(self, path: WorkspacePath, *, before: int | None, limit: int) -> History:
        """The newest `limit` revisions below `before` that touched the path, or what lies under it."""
        revisions = await self._store.log(self._workspace_id, path=path or None, before=before, limit=limit + 1)
        return History(revisions=revisions[:limit], has_more=len(revisions) > limit)

    async def diff(
        self, start: str | None, end: str | None, path: WorkspacePath, *, max_chars: int, wait_s: float
    ) -> Diff:
        """What changed from `start` to `end`, which is the sandbox as it is now where it is None.

        `start` None stands for the revision before `end`; with neither, for the latest checkpoint, else the beginning.

        Raises `NotFound` for a point that is not there, `StoreUnavailable`.
        """
        store, workspace_id = self._store, self._workspace_id
        after = await history.find(store, workspace_id, end) if end is not None else None
        if start is not None:
            before = await history.find(store, workspace_id, start)
        elif after is not None:
            before = await history.point_before(store, workspace_id, after.number)
        else:
            before = await history.latest_checkpoint(store, workspace_id) or history.BEGINNING
        problems: list[str] = []
        if after is None:
            problems = list((await self._synced("diff", None, wait_s)).problems)
        to = after or await history.newest(store, workspace_id)
        changes = await history.changes_between(store, workspace_id, before.number, to.number, under=path)
        shown = await history.excerpt(store, changes, max_chars=max_chars)
        return Diff(
            before=before, after=to, is_sandbox=after is None, changes=changes, shown=shown, unmirrored=problems
        )

    async def checkpoint(self, label: str, *, wait_s: float) -> Checkpoint:
        """Mirror what changed, as a revision that bears the label, also where nothing changed.

        Raises `InvalidArgument` for what is no label, `Conflict` where another revision has it, `StoreUnavailable`.
        """
        label = history.parse_label(label)
        is_joined = self._syncs.is_under_way(_sync_key("checkpoint", label))
        if not is_joined and (taken := await self._store.labelled(self._workspace_id, label)):
            raise Conflict(
                f"the label {label!r} is that of revision {taken.number} already",
                hint="Use another label, or that revision.",
            )
        report = await self._synced("checkpoint", label, wait_s)
        return Checkpoint(
            point=Point(number=report.revision, label=label), changed=report.changed, unmirrored=report.problems
        )

    async def restore(
        self, to: Point, path: WorkspacePath, *, wait_s: float, on_progress: OnProgress
    ) -> Restored | None:
        """None while it still goes on after `wait_s`. Then it goes on by itself, and the same call joins it.

        What is in the sandbox now becomes a revision before. Raises what `Rewinder.restore` raises, `InvalidArgument`
        for a path that is not restored, and `Conflict` where others use the files for long.
        """
        check_path(path)
        work = partial(self._rewind, to, path, on_progress)
        return await self._restores.join(_key(to, path), work, wait_s=wait_s)

    def is_restoring(self, to: Point, path: WorkspacePath) -> bool:
        return self._restores.is_under_way(_key(to, path))

    def _tell(self, key: str, outcome: Restored | VaporformError) -> None:
        if isinstance(outcome, VaporformError):
            self._notify(f"The {key} that went on failed: {outcome.message}. {outcome.hint}")
            return
        problems = f"; {len(outcome.problems)} paths are not as they were then" if outcome.problems else ""
        made = f"{outcome.files_restored} files restored, {outcome.files_removed} removed{problems}"
        self._notify(f"The {key} that went on is done: {made}. restore(to={outcome.undo}) undoes it.")

    async def _synced(self, made_by: str, label: str | None, wait_s: float) -> SyncReport:
        work = partial(self._sync, made_by=made_by, label=label)
        report = await self._syncs.join(_sync_key(made_by, label), work, wait_s=wait_s)
        if report is None:
            raise StoreUnavailable(
                f"the changes in the sandbox were not all mirrored within {wait_s:.0f} s",
                hint="That goes on; the same call joins it.",
            )
        return report


def _key(to: Point, path: WorkspacePath) -> str:
    return f"restore to {to.number}" + (f" of {path}" if path else "")


def _sync_key(made_by: str, label: str | None) -> str:
    return made_by if label is None else f"{made_by} {label}"
