"""Restore in place: make the files of a live sandbox, or some of them, those of a revision, and tell it as a new one.

Holds, whenever this ends: the mark vouches for whole states alone. It is removed before the first file is touched, and
written when the last is and the new revision is there; a restore that was killed in between leaves a sandbox without
a mark, which nobody syncs from and which the next call replaces by the mirror as it was before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import anyio.to_thread

from vaporform_mcp.errors import InvalidArgument, NotFound, SandboxLost, StoreUnavailable, VaporformError
from vaporform_mcp.history import FileChange, Point, changes_between, is_repository, near_paths
from vaporform_mcp.sandboxes.base import FileFault, Sandbox
from vaporform_mcp.stores.base import Store
from vaporform_mcp.sync import MIRRORED, Index
from vaporform_mcp.trees import is_safe
from vaporform_mcp.types import Change, Stat, WorkspacePath
from vaporform_mcp.workspace.capture import capture
from vaporform_mcp.workspace.files import behind_links
from vaporform_mcp.workspace.marks import Mark, decode, encode
from vaporform_mcp.workspace.mirror import Mirror, Rebase
from vaporform_mcp.workspace.restoring import restore_tree
from vaporform_mcp.workspace.results import Restored
from vaporform_mcp.workspace.syncing import rebase

__all__ = ["OnProgress", "Rewinder", "check_path"]

OnProgress = Callable[[int, int], None]
"""Told how many of how many files are written. Never awaits."""


def check_path(path: WorkspacePath) -> None:
    """Raises `InvalidArgument` for what is not restored as files are."""
    if is_repository(path):
        raise InvalidArgument(
            "the git repository has a history of its own, which a restore leaves as it is",
            hint="Use git in execute_command.",
        )


class Rewinder:
    """For one restore of one sandbox, which its caller has to itself: under the exclusive lock, right after a sync.

    `unmirrored` are paths that this sync could not read: what they hold now is nowhere else, so they stay. While
    `is_half_done` the sandbox has no mark, and its files are neither those before nor those after.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        mirror: Mirror,
        store: Store,
        *,
        max_file_bytes: int,
        unmirrored: Mapping[WorkspacePath, str],
    ) -> None:
        self._sandbox = sandbox
        self._mirror = mirror
        self._store = store
        self._max_file_bytes = max_file_bytes
        self._problems: dict[WorkspacePath, str] = {}
        self._unmirrored = dict(unmirrored)
        self.is_half_done = False

    async def restore(self, to: Point, path: WorkspacePath, on_progress: OnProgress) -> Restored:
        """Only what differs is touched; what the mirror does not have stays, and so do running processes.

        Raises:
            NotFound: neither the revision nor the workspace has anything at `path`.
            StoreUnavailable, LimitReached, SandboxUnavailable: it could not be done; everything is as before, or will
                be by the next call.
        """
        made_by = f"restore: to {to}" + (f", {path}" if path else "")
        changes = await self._changes(to, path)
        if await self._keep_hidden(changes, made_by):
            changes = await self._changes(to, path)
        undo = self._mirror.head.number
        changes = await self._possible(changes)
        if not changes:
            if path and not self._problems:
                await self._check_exists(to, path)
            return self._restored(to, path, (), undo, revision=undo)
        mark = await self._read_mark()
        self.is_half_done = True
        await self._sandbox.clear_mark()
        try:
            failed = await self._apply(changes, on_progress)
        except SandboxLost:
            raise
        except VaporformError as error:
            await self._put_back(changes, mark, error)
            raise
        self._problems.update(failed)
        return await self._commit(changes, frozenset(failed), mark, made_by, self._restored(to, path, changes, undo))

    async def _changes(self, to: Point, path: WorkspacePath) -> Sequence[FileChange]:
        head = self._mirror.head.number
        return await changes_between(self._store, self._sandbox.workspace_id, head, to.number, under=path)

    async def _keep_hidden(self, changes: Sequence[FileChange], made_by: str) -> bool:
        """Mirror what lies unmirrored where files are to come: an excluded folder may have any. Whether there was."""
        coming = [change.path for change in changes if change.before is None and is_safe(change.path)]
        astray = await self._astray(coming)
        hidden: list[tuple[WorkspacePath, Stat]] = []
        for item in await self._sandbox.stat_files([path for path in coming if path not in astray]):
            if isinstance(item, FileFault):
                self._unmirrored[item.path] = item.error.message
            elif item is not None and item.stat.kind in MIRRORED:
                hidden.append((item.path, item.stat))
        if not hidden:
            return False
        captured = await capture(self._sandbox, self._mirror, hidden, max_file_bytes=self._max_file_bytes)
        self._unmirrored |= captured.kept
        found = [Change(path=path, entry=entry) for path, entry in captured.found.items()]
        if not found:
            return False
        read_at = self._mirror.head.number
        await self._mirror.commit(found, read_at=read_at, rebase=self._rebase(), made_by=f"{made_by} (before it)")
        return True

    async def _possible(self, changes: Sequence[FileChange]) -> Sequence[FileChange]:
        """Without those that must not be made, each named."""
        possible: list[FileChange] = []
        for change in changes:
            if not is_safe(change.path):
                self._problems[change.path] = "refused: its path would leave the workspace"
            elif why := self._unmirrored.get(change.path):
                self._problems[change.path] = f"left as it is, since what it holds now could not be mirrored: {why}"
            else:
                possible.append(change)
        return possible

    async def _check_exists(self, to: Point, path: WorkspacePath) -> None:
        then = await self._store.tree(self._sandbox.workspace_id, to.number)
        if not near_paths(path, then, only_under=True) and not near_paths(
            path, await self._mirror.tree(), only_under=True
        ):
            near = near_paths(path, then)
            raise NotFound(
                f"{to} has nothing at {path!r}, nor has the workspace now",
                hint=f"Near it at that revision: {', '.join(near)}." if near else "Look with history.",
            )

    async def _apply(self, changes: Sequence[FileChange], on_progress: OnProgress) -> Mapping[WorkspacePath, str]:
        """Make the changes; answers with those that could not be made, and why."""
        # A file written where a link is would be written through it: what becomes another kind goes first.
        leaving = [
            change.path
            for change in changes
            if change.before and (change.after is None or change.after.kind is not change.before.kind)
        ]
        failed = dict(await self._astray(leaving))
        leaving = [path for path in leaving if path not in failed]
        failed |= {fault.path: fault.error.message for fault in await self._sandbox.remove_files(leaving)}
        coming = {change.path: change.after for change in changes if change.after and change.path not in failed}
        failed |= await self._astray(list(coming))
        sound = {path: entry for path, entry in coming.items() if path not in failed}
        unmade = await restore_tree(self._sandbox, self._store, sound, on_progress)
        gone = frozenset(leaving)
        in_vain = {each.path: each.before for each in changes if each.before and each.path in gone & unmade.keys()}
        if in_vain:  # what made way for them comes back
            await restore_tree(self._sandbox, self._store, in_vain, lambda done, total: None)
        return {**failed, **unmade}

    async def _astray(self, paths: Sequence[WorkspacePath]) -> Mapping[WorkspacePath, str]:
        """Those that a symbolic link, which the mirror need not know of, would lead to another place."""
        found = await behind_links(self._sandbox, paths)
        return {path: f"{link!r} on its way is a symbolic link" for path, link in found.items()}

    async def _put_back(self, changes: Sequence[FileChange], mark: Mark, error: VaporformError) -> None:
        """After a failure half way: as before, if that can be; else the next call rebuilds the sandbox."""
        back = [FileChange(path=change.path, before=change.after, after=change.before) for change in changes]
        try:
            failed = await self._apply(back, lambda done, total: None)
            if failed:
                raise StoreUnavailable("not all could be put back")
            await self._write_mark(mark, changes, mark.revision)
        except VaporformError:
            error.hint = f"{error.hint} The next call rebuilds the sandbox from the mirror, as it was before.".strip()
        else:
            error.hint = f"{error.hint} Everything is as it was before.".strip()

    async def _commit(
        self,
        changes: Sequence[FileChange],
        failed: frozenset[WorkspacePath],
        mark: Mark,
        made_by: str,
        restored: Restored,
    ) -> Restored:
        made = [Change(path=each.path, entry=each.after) for each in changes if each.path not in failed]
        read_at = compared_with = self._mirror.head.number
        error: StoreUnavailable | None = None
        try:
            # What is there now of those that failed, only the sandbox can tell. What it never got back is not removed,
            # and what a symbolic link shows there lies elsewhere.
            if unsure := failed - mark.withheld - (await self._astray(sorted(failed))).keys():
                made += await self._rebase()((), unsure)
            revision = await self._mirror.commit(made, read_at=read_at, rebase=self._rebase(), made_by=made_by)
            if revision.number == read_at + 1:
                compared_with = revision.number
        except StoreUnavailable as unconfirmed:
            error = unconfirmed  # the files are restored, and the next sync tells the mirror
        await self._write_mark(mark, changes, compared_with, failed)
        if error is not None:
            return replace(restored, mirror_error=error.message)
        return replace(restored, revision=self._mirror.head.number)

    def _restored(
        self,
        to: Point,
        path: WorkspacePath,
        changes: Sequence[FileChange],
        undo: int,
        *,
        revision: int | None = None,
    ) -> Restored:
        made = [change for change in changes if change.path not in self._problems]
        return Restored(
            to=to,
            path=path,
            revision=revision,
            undo=undo,
            files_restored=sum(change.after is not None for change in made),
            files_removed=sum(change.after is None for change in made),
            problems=dict(self._problems),
        )

    def _rebase(self) -> Rebase:
        return partial(rebase, self._sandbox, self._mirror, self._max_file_bytes)

    async def _read_mark(self) -> Mark:
        raw = await self._sandbox.read_mark()
        mark = await anyio.to_thread.run_sync(decode, raw) if raw is not None else None
        if mark is None:
            raise SandboxLost("the sandbox's files are gone", hint="Repeat the call; they come back from the mirror.")
        return mark

    async def _write_mark(
        self, mark: Mark, changes: Sequence[FileChange], revision: int, failed: frozenset[WorkspacePath] = frozenset()
    ) -> None:
        """Without the stats of what was touched, so that the next sync reads that again."""
        touched = {change.path for change in changes}
        stats = {path: stat for path, stat in mark.index.stats.items() if path not in touched}
        new = Mark(
            workspace_id=mark.workspace_id,
            epoch=mark.epoch,
            revision=revision,
            index=Index(clock_ns=mark.index.clock_ns, stats=stats),
            withheld=mark.withheld - (touched - failed),
        )
        await self._sandbox.write_mark(await anyio.to_thread.run_sync(encode, new))
        self.is_half_done = False
