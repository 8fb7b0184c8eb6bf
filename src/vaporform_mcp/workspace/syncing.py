"""Sync: make the mirror equal to the sandbox, incrementally, as one revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio.to_thread

from vaporform_mcp.errors import SandboxLost
from vaporform_mcp.exclusions import PRUNED_FOLDERS
from vaporform_mcp.sandboxes.base import Sandbox, Scan
from vaporform_mcp.sync import Index, changes_between, nominate
from vaporform_mcp.types import Change, Entry, Stat, WorkspacePath
from vaporform_mcp.workspace.capture import Captured, capture
from vaporform_mcp.workspace.marks import Mark, decode, encode
from vaporform_mcp.workspace.mirror import Mirror

__all__ = ["SyncReport", "Syncer"]

_CODEC_ROWS_IN_THREAD = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """`changed` counts paths that this sync added, changed or removed; `problems` names what stayed out, and why."""

    revision: int
    changed: int
    problems: Sequence[str]


class Syncer:
    """Syncs one sandbox into one mirror. One sync at a time: the caller sees to that."""

    def __init__(self, sandbox: Sandbox, mirror: Mirror) -> None:
        self._sandbox = sandbox
        self._mirror = mirror
        self._raw_mark: bytes | None = None
        self._mark: Mark | None = None

    async def run(self, *, made_by: str, label: str | None = None) -> SyncReport:
        """Scan, read what may have changed, put its blobs, commit one revision, mark.

        No revision is made where nothing changed and no label is asked for. Raises `SandboxLost` when the sandbox has
        no mark of this epoch (it must be restored first), `StoreUnavailable`.
        """
        mark = await self._read_mark()
        tree = dict(await self._mirror.tree())
        read_at = self._mirror.head.number
        scan = await self._sandbox.scan(prune=PRUNED_FOLDERS)
        complete = not scan.unreadable and not scan.truncated
        nominated = nominate(((item.path, item.stat) for item in scan.entries), mark.index, tree, complete=complete)
        unlisted = nominated.unlisted
        wanted = [*nominated.read, *await self._present(unlisted)]
        captured = await capture(self._sandbox, self._mirror, wanted)
        gone = await self._confirmed_gone([path for path in unlisted if path not in mark.withheld], captured)
        changes = changes_between(tree, captured.found, [*gone, *nominated.covered])
        if changes or label is not None:
            await self._mirror.commit(changes, read_at=read_at, rebase=self.rebase, made_by=made_by, label=label)
        stats = {**nominated.same, **captured.stats}
        # Written also when only the clock moved on: what was read lay within its grain, and need not be read again.
        await self._write_mark(mark, scan, stats, read=bool(captured.stats))
        return SyncReport(revision=self._mirror.head.number, changed=len(changes), problems=_problems(scan, captured))

    async def rebase(self, changes: Sequence[Change], touched: frozenset[WorkspacePath]) -> Sequence[Change]:
        """Read the paths that others committed meanwhile once more, and commit what they are now."""
        items = await self._sandbox.stat_files(sorted(touched))
        wanted = [(item.path, item.stat) for item in items if item is not None]
        captured = await capture(self._sandbox, self._mirror, wanted)
        gone = [path for path in touched if path not in {path for path, _ in wanted}] + captured.gone
        fresh: Mapping[WorkspacePath, Entry | None] = {**captured.found, **dict.fromkeys(gone)}
        kept = [change for change in changes if change.path not in touched]
        return [*kept, *(Change(path=path, entry=entry) for path, entry in fresh.items())]

    async def _present(self, unlisted: Sequence[WorkspacePath]) -> list[tuple[WorkspacePath, Stat]]:
        """Tracked paths that the scan did not show because they lie in a pruned folder."""
        if not unlisted:
            return []
        found = await self._sandbox.stat_files(unlisted)
        return [(item.path, item.stat) for item in found if item is not None]

    async def _confirmed_gone(self, unlisted: Sequence[WorkspacePath], captured: Captured) -> list[WorkspacePath]:
        """The scan nominates, looking decides: only what is still not there now is removed."""
        doubtful = [path for path in unlisted if path not in captured.found and path not in captured.kept]
        doubtful += [path for path in captured.gone if path not in doubtful]
        if not doubtful:
            return []
        looked = await self._sandbox.stat_files(doubtful)
        return [path for path, item in zip(doubtful, looked, strict=True) if item is None]

    async def _read_mark(self) -> Mark:
        raw = await self._sandbox.read_mark()
        if raw is None:
            raise SandboxLost("the sandbox's files are gone", hint="Repeat the call; they come back from the mirror.")
        if raw != self._raw_mark:
            self._mark = await anyio.to_thread.run_sync(decode, raw)
            self._raw_mark = raw
        mark = self._mark
        if mark is None or (mark.workspace_id, mark.epoch) != (self._sandbox.workspace_id, self._mirror.epoch):
            raise SandboxLost(
                "the sandbox belongs to an earlier time of this workspace", hint="Repeat the call; it is replaced."
            )
        return mark

    async def _write_mark(self, old: Mark, scan: Scan, stats: Mapping[WorkspacePath, Stat], *, read: bool) -> None:
        revision = self._mirror.head.number
        if not read and old.revision == revision and old.index.stats == stats:
            return
        mark = Mark(
            workspace_id=old.workspace_id,
            epoch=old.epoch,
            revision=revision,
            index=Index(clock_ns=scan.clock_ns, stats=stats),
            withheld=old.withheld - stats.keys(),
        )
        raw = encode(mark) if len(stats) < _CODEC_ROWS_IN_THREAD else await anyio.to_thread.run_sync(encode, mark)
        await self._sandbox.write_mark(raw)
        self._mark, self._raw_mark = mark, raw


def _problems(scan: Scan, captured: Captured) -> list[str]:
    problems = [f"{path}: {why}" for path, why in captured.kept.items()]
    problems += [f"{name}: not a name that can be mirrored" for name in scan.invalid]
    problems += [f"{path}: the folder cannot be read" for path in scan.unreadable]
    if scan.truncated:
        problems.append("more files than a sync looks at; deletions are not followed")
    return problems
