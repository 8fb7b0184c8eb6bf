"""A workspace: the durable thing a client works in, always live in a sandbox and always copied to a store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import anyio

from vaporform_mcp.credentials import Credentials
from vaporform_mcp.errors import SandboxLost, StoreUnavailable, VaporformError
from vaporform_mcp.exclusions import Exclusions, MirrorRules
from vaporform_mcp.history import Point
from vaporform_mcp.locks import HostLock
from vaporform_mcp.sandboxes.base import Command, OnPhase, Preview, ProcessStatus, Provider, RunState, SandboxInfo
from vaporform_mcp.sandboxes.snapshots import Snapshot
from vaporform_mcp.stores.base import Store
from vaporform_mcp.sync import MIRRORED
from vaporform_mcp.techstack import TechStack
from vaporform_mcp.types import ROOT, WorkspaceName, WorkspacePath, WorkspaceRecord
from vaporform_mcp.workspace.completion import find_stack, serve
from vaporform_mcp.workspace.ignoring import Unshown
from vaporform_mcp.workspace.lifeline import Lifeline
from vaporform_mcp.workspace.opening import Live, Opener
from vaporform_mcp.workspace.reading import Reader
from vaporform_mcp.workspace.receiving import Receiver
from vaporform_mcp.workspace.results import (
    Checked,
    Checkpoint,
    Completed,
    Diff,
    Executed,
    FileText,
    Found,
    History,
    Listing,
    MirrorState,
    Replaced,
    Restored,
    Written,
)
from vaporform_mcp.workspace.rewinding import OnProgress, Rewinder
from vaporform_mcp.workspace.running import Runner
from vaporform_mcp.workspace.scheduling import SyncLoop, SyncOutcome
from vaporform_mcp.workspace.searching import search
from vaporform_mcp.workspace.syncing import Syncer, SyncReport
from vaporform_mcp.workspace.travelling import Traveller
from vaporform_mcp.workspace.writing import Writer

__all__ = ["Workspace"]

log = logging.getLogger(__name__)

FINAL_SYNC_LIMIT_S = 8.0
MAX_WARNINGS = 10
MADE_BY_COMMAND = 200


class Workspace:
    """Sandbox first, then the mirror. Made and closed by the manager, which also runs `keep_synced`."""

    def __init__(
        self,
        record: WorkspaceRecord,
        store: Store,
        provider: Provider,
        lock: HostLock,
        rules: MirrorRules,
        credentials: Credentials,
    ) -> None:
        self._store = store
        self._lock = lock
        self._rules = rules
        self._snapshots = provider.snapshots
        self._loop = SyncLoop(self._sync_in_background)
        opener = Opener(store, provider, lock, rules.exclusions, credentials)
        self._lifeline = Lifeline(record, store, opener, lambda: self._loop.request("self-heal"))
        self._writer = Writer(self._lifeline, lock, self._loop, rules.max_file_bytes)
        self._receiver = Receiver(self._lifeline, lock)
        self._unshown = Unshown(rules.exclusions)
        self._reader = Reader(self._lifeline, store, self._unshown)
        self._runner = Runner(self._lifeline)
        self._traveller = Traveller(store, record.id, self.sync, self._rewind, self._lifeline.notify)
        # Holds: one sync at a time; whoever asks meanwhile gets one that begins afterwards.
        self._syncing = anyio.Lock()
        self._syncer: Syncer | None = None
        self._syncer_of: Live | None = None

    @property
    def name(self) -> WorkspaceName:
        return self._lifeline.record.name

    @property
    def receiver(self) -> Receiver:
        """For files that come from outside, many at once; whoever uses it syncs afterwards."""
        return self._receiver

    @property
    def record(self) -> WorkspaceRecord:
        return self._lifeline.record

    async def open(self, on_phase: OnPhase) -> None:
        """Bring the sandbox to life. Raises `SandboxUnavailable`, `StoreUnavailable`, `NotSupported`."""
        live = await self._lifeline.open(on_phase)
        if not live.restored:
            # Whoever used this sandbox before may have been killed with a sync pending.
            self._loop.request("open_workspace")

    async def info(self) -> SandboxInfo:
        """What the sandbox is; asking its tools for their versions may take a moment."""
        return await self._lifeline.use(lambda live: live.sandbox.info())

    async def write(self, path: WorkspacePath, content: bytes, *, made_by: str) -> Written:
        return await self._writer.write(path, content, made_by=made_by)

    async def replace(self, path: WorkspacePath, diff: str, *, made_by: str) -> Replaced:
        return await self._writer.replace(path, diff, made_by=made_by)

    async def read(self, path: WorkspacePath) -> FileText:
        return await self._reader.read(path)

    async def list(self, path: WorkspacePath, *, recursive: bool, limit: int) -> Listing:
        return await self._reader.list(path, recursive=recursive, limit=limit)

    async def search(self, path: WorkspacePath, regex: str, *, file_pattern: str | None, limit: int) -> Found:
        async def look(live: Live) -> Found:
            rules = await self._unshown.rules(live.sandbox, path)
            return await search(live.sandbox, path, regex, rules=rules, file_pattern=file_pattern, limit=limit)

        return await self._lifeline.use(look)

    async def execute(
        self, command: Command, *, wait_s: float, background: bool, on_output: Callable[[bytes], None] | None
    ) -> Executed:
        """Run a command; the sync that follows it is made in the background and never delays the answer."""
        made_by = f"execute_command: {command.text[:MADE_BY_COMMAND]}"
        self._loop.request(made_by)  # so that one that goes on for long is followed while it does
        try:
            result, previews = await self._runner.execute(
                command, wait_s=wait_s, background=background, on_output=on_output
            )
        finally:
            self._loop.request(made_by)  # also where it was cancelled: it may have written before
        return Executed(result=result, previews=previews, mirror=self.mirror_state())

    async def check(
        self, process_id: str, *, wait_s: float, data: bytes | None, offset: int | None, limit: int
    ) -> Checked:
        checked = await self._runner.check(process_id, wait_s=wait_s, data=data, offset=offset, limit=limit)
        if checked.status.state is not RunState.RUNNING:
            self._loop.request("check_process")
        return checked

    async def processes(self) -> Sequence[ProcessStatus]:
        return await self._runner.processes()

    async def stop(self, process_id: str) -> ProcessStatus:
        status = await self._runner.stop(process_id)
        self._loop.request("stop_process")
        return status

    async def preview(self, port: int) -> Preview:
        return await self._runner.preview(port)

    async def complete(self, *, command: str | None, wait_s: float) -> Completed:
        """Back up what changed as a checkpoint, name the stack, and see to it that something serves.

        Takes at most about `wait_s`.
        """
        warnings: list[str] = []
        deadline = anyio.current_time() + wait_s
        report, label = await self._checkpoint(warnings, wait_s / 2)
        paths, stack = await self._lifeline.use(lambda live: _paths_and_stack(live, self._unshown))
        wait_s = max(1.0, deadline - anyio.current_time())
        served = await serve(self._lifeline, self._runner, stack, command=command, limit_s=wait_s)
        if served.dev_server is not None and served.dev_server.error is not None:
            warnings.append(f"the development server did not come up: {served.dev_server.error}")
        if served.dev_server is not None and served.dev_server.started:
            self._loop.request("attempt_completion")
        return Completed(
            checkpoint=label,
            files_total=len(paths),
            files_synced=report.changed if report is not None else 0,
            mirror=self.mirror_state(),
            mirrored=report is not None,
            tech_stack=stack,
            previews=served.previews,
            preview_url=served.url(stack.dev_port),
            dev_server=served.dev_server,
            warnings=warnings[:MAX_WARNINGS],
        )

    async def history(self, path: WorkspacePath, *, before: int | None, limit: int) -> History:
        """What is mirrored; a command that just ended is there a moment later."""
        return await self._traveller.history(path, before=before, limit=limit)

    async def diff(
        self, start: str | None, end: str | None, path: WorkspacePath, *, max_chars: int, wait_s: float
    ) -> Diff:
        return await self._traveller.diff(start, end, path, max_chars=max_chars, wait_s=wait_s)

    async def checkpoint(self, label: str, *, wait_s: float) -> Checkpoint:
        return await self._traveller.checkpoint(label, wait_s=wait_s)

    async def snapshot(self, name: str, *, wait_s: float) -> Snapshot:
        """Save the sandbox under the name, what of its files is not mirrored yet being mirrored first, where that can
        be. Safe to repeat: one that is under way is joined.
        """
        deadline = anyio.current_time() + wait_s
        try:
            with anyio.move_on_after(wait_s / 2):
                await self.sync(made_by="snapshots")
        except StoreUnavailable as error:
            log.info("the sandbox is saved without its mirror: %s", error)

        async def save(live: Live) -> Snapshot:
            left_s = max(0.0, deadline - anyio.current_time())
            return await self._snapshots.save(self.record.id, live.mirror.epoch, name, wait_s=left_s)

        return await self._lifeline.use(save)

    async def find(self, point: str) -> Point:
        """The revision of that number or label. Raises `NotFound`, which names the nearest."""
        return await self._traveller.find(point)

    async def restore(
        self, to: Point, path: WorkspacePath, *, wait_s: float, on_progress: OnProgress
    ) -> Restored | None:
        """Make the files, or those at and under `path`, as they were; None while that still goes on after `wait_s`."""
        return await self._traveller.restore(to, path, wait_s=wait_s, on_progress=on_progress)

    def is_restoring(self, to: Point, path: WorkspacePath) -> bool:
        return self._traveller.is_restoring(to, path)

    def mirror_state(self) -> MirrorState:
        live = self._lifeline.live
        revision = live.mirror.head.number if live is not None else 0
        return MirrorState(
            revision=revision, pending=self._loop.pending, error=live.mirror.error if live is not None else None
        )

    def take_notices(self) -> list[str]:
        """What the next result must begin with; each is told once."""
        return self._lifeline.take_notices()

    async def sync(self, *, made_by: str, label: str | None = None) -> SyncReport:
        """Sync now: one that begins after this call, whatever syncs are under way. Heals a lost sandbox."""
        return await self._lifeline.use(lambda live: self._sync(live, made_by, label))

    async def sync_locked(self, made_by: str) -> None:
        """Sync the sandbox as it is, for a caller that holds the workspace's host lock exclusively.

        That lock keeps every other sync away; one of ours that waits for it holds `_syncing` meanwhile.
        Raises `SandboxLost`.
        """
        live = self._lifeline.live
        if live is None:
            raise SandboxLost("the sandbox is being replaced", hint="Repeat the call.")
        await Syncer(live.sandbox, live.mirror, self._rules).run(made_by=made_by)

    async def keep_synced(self) -> None:
        """Run the background syncs, and the healing; never returns."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._lifeline.run)
            group.start_soon(self._traveller.run)
            await self._loop.run()

    async def aclose(self) -> None:
        """End a restore, run the pending sync within their bound and let go of the sandbox, which goes on."""
        deadline = anyio.current_time() + FINAL_SYNC_LIMIT_S
        with anyio.CancelScope(deadline=deadline):
            await self._traveller.settle()
        live = self._lifeline.live
        if live is not None and self._loop.pending:
            with anyio.CancelScope(deadline=deadline) as scope:
                try:
                    await self._sync(live, "shutdown", None)
                except VaporformError as error:
                    log.warning("the last sync of %s failed: %s", self.record.id, error)
            if scope.cancelled_caught:
                log.warning("gave up the last sync of %s after %s s", self.record.id, FINAL_SYNC_LIMIT_S)
        await self._lifeline.aclose()

    async def _checkpoint(self, warnings: list[str], limit_s: float) -> tuple[SyncReport | None, str]:
        label = f"complete-{self.mirror_state().revision + 1}"
        report: SyncReport | None = None
        try:
            label = await self._lifeline.use(_next_label)
            with anyio.move_on_after(limit_s):
                report = await self.sync(made_by="attempt_completion", label=label)
        except StoreUnavailable as error:
            warnings.append(f"the mirror could not be brought up to date: {error.message}")
        if report is None:
            self._loop.request("attempt_completion")
            warnings.append("the mirror is brought up to date in the background; completing again waits for it")
            return None, label
        warnings += [f"not mirrored: {problem}" for problem in report.problems[:MAX_WARNINGS]]
        return report, label

    async def _sync(self, live: Live, made_by: str, label: str | None, *, thorough: bool = True) -> SyncReport:
        async with self._syncing, self._lock.shared():
            return await self._run_sync(live, made_by, label, thorough=thorough)

    async def _run_sync(self, live: Live, made_by: str, label: str | None, *, thorough: bool = True) -> SyncReport:
        """Holds `_syncing`, and the host's lock of either kind."""
        asked = self._loop.requests

        def who() -> str:
            """What changed the files, rather than what looks at them."""
            return self._loop.made_by if self._loop.pending and label is None else made_by

        if self._syncer is None or self._syncer_of is not live:
            self._syncer, self._syncer_of = Syncer(live.sandbox, live.mirror, self._rules), live
        with live.mirror.attempt(probe=True):
            report = await self._syncer.run(made_by=who, label=label, thorough=thorough)
        self._loop.covered(asked)
        self._lifeline.unmirrored.clear()
        return report

    async def _rewind(self, to: Point, path: WorkspacePath, on_progress: OnProgress) -> Restored:
        return await self._lifeline.use(lambda live: self._rewind_in(live, to, path, on_progress))

    async def _rewind_in(self, live: Live, to: Point, path: WorkspacePath, on_progress: OnProgress) -> Restored:
        async with self._syncing, self._lock.exclusive():
            report = await self._run_sync(live, "restore: before it", None)
            rewinder = Rewinder(
                live.sandbox,
                live.mirror,
                self._store,
                max_file_bytes=self._rules.max_file_bytes,
                unmirrored=report.unread,
            )
            try:
                restored = await rewinder.restore(to, path, on_progress)
            finally:
                if rewinder.is_half_done:
                    self._lifeline.distrust(live)
        if restored.mirror_error is not None:
            self._loop.request(f"restore: to {to}")
        return restored

    async def _sync_in_background(self, made_by: str, thorough: bool) -> SyncOutcome:
        live = self._lifeline.live
        if live is None:
            return SyncOutcome(changed=False, watch=False)
        # Asked before the scan: what ends while it runs may have written behind its back, and is looked at once more.
        processes = await live.sandbox.processes()
        running = {status.id for status in processes if status.state is RunState.RUNNING}
        self._lifeline.forget_ended(running)
        try:
            report = await self._sync(live, made_by, None, thorough=thorough)
        except SandboxLost:
            self._lifeline.distrust(live)
            raise
        except StoreUnavailable:
            return SyncOutcome(changed=False, watch=False, retry_in_s=max(0.5, live.mirror.retry_in_s))
        return SyncOutcome(changed=report.changed > 0, watch=bool(running))


async def _next_label(live: Live) -> str:
    await live.mirror.refresh()
    return f"complete-{live.mirror.head.number + 1}"


async def _paths_and_stack(live: Live, unshown: Unshown) -> tuple[Sequence[WorkspacePath], TechStack]:
    """The tree's paths, or those in the sandbox where the store cannot tell."""
    try:
        paths = sorted(await live.mirror.tree())
    except StoreUnavailable:
        rules = await unshown.rules(live.sandbox, ROOT) or Exclusions()
        scan = await live.sandbox.scan(prune=rules.pruned_names)
        paths = [item.path for item in scan.entries if item.stat.kind in MIRRORED and not rules.is_excluded(item.path)]
    return paths, await find_stack(live.sandbox, paths)
