"""Opening: decide who is the truth, the sandbox or the mirror, and make the sandbox live accordingly."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

import anyio

from vaporform_mcp.credentials import Credentials
from vaporform_mcp.errors import Conflict, InvalidArgument, NotFound, SandboxUnavailable, VaporformError
from vaporform_mcp.exclusions import PRUNED_FOLDERS, Exclusions
from vaporform_mcp.locks import HostLock
from vaporform_mcp.sandboxes.base import Command, OnPhase, Provider, Sandbox
from vaporform_mcp.stores.base import Store
from vaporform_mcp.sync import CLOCK_GRAIN_NS, Index
from vaporform_mcp.types import Entry, EntryKind, Head, Phase, WorkspacePath, WorkspaceRecord
from vaporform_mcp.workspace.importing import NO_ACCESS, GitAccess, access_to, clone
from vaporform_mcp.workspace.marks import Mark, decode, encode
from vaporform_mcp.workspace.mirror import Mirror
from vaporform_mcp.workspace.repository import FOLDER, STATE, Returned, bring_back
from vaporform_mcp.workspace.restoring import restore_tree

__all__ = ["Live", "Opener"]

log = logging.getLogger(__name__)

TAKEOVER_TRIES = 20
CLEAR_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A workspace's sandbox, marked and of the current epoch, with the mirror that it is synced into.

    `rebuilt` tells that it was made anew just now, `restored` that its files came from the mirror then; `problems`
    names those that did not come back, and `repository` tells what did of a git repository, where there was one.
    `snapshot_gone` names the snapshot that it should have been made of, and could not.
    """

    sandbox: Sandbox
    mirror: Mirror
    rebuilt: bool
    restored: bool
    problems: Mapping[WorkspacePath, str]
    repository: Returned | None = None
    snapshot_gone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What there is of a workspace at a moment. `live` where its sandbox bears the mark of the current epoch."""

    head: Head
    sandbox: Sandbox | None = None
    live: Live | None = None


class Opener:
    """Opens one workspace, as often as it takes. Safe to repeat and to interrupt: without a mark it starts again."""

    def __init__(
        self,
        store: Store,
        provider: Provider,
        lock: HostLock,
        exclusions: Exclusions,
        credentials: Credentials,
    ) -> None:
        self._store = store
        self._provider = provider
        self._lock = lock
        self._exclusions = exclusions
        self._credentials = credentials

    async def open(self, record: WorkspaceRecord, on_phase: OnPhase) -> Live:
        """The live sandbox: as it is, where its mark is of the current epoch; else rebuilt from the mirror.

        Raises `SandboxUnavailable`, `StoreUnavailable`, `NotSupported`, `Conflict` (somebody else replaces it),
        `NotFound` (it lies in the trash, or was deleted for good).
        """
        on_phase(Phase.CREATING, 0)
        async with self._lock.shared():
            await self._check_kept(record)
            seen = await self._look(record, on_phase)
            if seen.live is not None:
                return seen.live
        async with self._lock.exclusive():
            # Another server may have deleted or rebuilt it while this one waited for the lock.
            await self._check_kept(record)
            if seen.head.number == 0 or await self._store.head(record.id) != seen.head:
                seen = await self._look(record, on_phase)
            return seen.live or await self._rebuild(record, seen, on_phase)

    async def _check_kept(self, record: WorkspaceRecord) -> None:
        """Within the lock, under which a deletion marks the record: nothing is brought to life in the trash."""
        kept = await self._store.get_workspace(record.owner, record.name)
        if kept is None or kept.id != record.id:
            raise NotFound(f"the workspace {record.name} was deleted", hint="open_workspace makes a new one.")

    async def _look(self, record: WorkspaceRecord, on_phase: OnPhase) -> _Seen:
        """Makes none: a lost sandbox is replaced by one of the next epoch, and nobody would use one of this."""
        head = await self._store.head(record.id)
        epoch = head.sandbox_epoch
        sandbox = await self._provider.find(record.spec, record.id, epoch, on_phase)
        raw = await sandbox.read_mark() if sandbox is not None else None
        mark = decode(raw) if raw is not None else None
        if sandbox is None or mark is None or (mark.workspace_id, mark.epoch) != (record.id, epoch):
            return _Seen(head=head, sandbox=sandbox)
        on_phase(Phase.READY, 100)
        mirror = Mirror(self._store, record.id, Head(number=head.number, epoch=epoch))
        live = Live(sandbox=sandbox, mirror=mirror, rebuilt=False, restored=False, problems={})
        return _Seen(head=head, sandbox=sandbox, live=live)

    async def _rebuild(self, record: WorkspaceRecord, seen: _Seen, on_phase: OnPhase) -> Live:
        """Holds the exclusive lock. Every sandbox that may have been synced from is of an epoch below the new one."""
        before = seen.head
        head = await self._take_over(record, before)
        sandbox, is_as_asked = seen.sandbox if before.number == 0 else None, True
        if sandbox is None:
            sandbox, is_as_asked = await self._acquire(record, head, on_phase)
        imports = before.number == 0 and record.spec.git_url is not None
        if imports and (await sandbox.scan(limit=1)).entries:
            # A first opening that was interrupted left files of which no mark tells.
            await self._provider.destroy(record.id, head.epoch)
            sandbox, _ = await self._acquire(record, head, on_phase)
            if (await sandbox.scan(limit=1)).entries:
                raise _occupied(record)
        problems: Mapping[WorkspacePath, str] = {}
        repository: Returned | None = None
        mirror = Mirror(self._store, record.id, head)
        if imports and record.spec.git_url is not None:
            on_phase(Phase.IMPORTING, 0)
            await clone(sandbox, record.spec, self._credentials.of(record.spec.git_url))
        else:
            tree = await mirror.tree()
            if before.number > 0:
                await self._clear_unmirrored(sandbox, tree)

            def progress(done: int, total: int) -> None:
                on_phase(Phase.RESTORING, 100 * done / total)

            problems = await restore_tree(sandbox, self._store, tree, progress)
            if STATE in tree:
                repository = await bring_back(sandbox, self._access(record), depth=record.spec.git_depth)
        await self._mark(record, sandbox, mirror, frozenset(problems))
        if seen.sandbox is not None and 0 < before.epoch < head.epoch:
            await self._destroy_old(record, before.epoch)
        on_phase(Phase.READY, 100)
        restored = before.number > 0
        return Live(
            sandbox=sandbox,
            mirror=mirror,
            rebuilt=True,
            restored=restored,
            problems=problems,
            repository=repository,
            snapshot_gone=None if is_as_asked else record.spec.snapshot,
        )

    async def _acquire(self, record: WorkspaceRecord, head: Head, on_phase: OnPhase) -> tuple[Sandbox, bool]:
        """The sandbox of that epoch, and whether it is as the spec says: a workspace outlives the snapshot that it was
        opened from, since its files are in the mirror.
        """
        try:
            return await self._provider.acquire(record.spec, record.id, head.epoch, on_phase), True
        except NotFound as error:
            if head.number == 0 or record.spec.snapshot is None:
                raise
            log.warning("a sandbox is made anew of what is usual: %s", error)
        spec = replace(record.spec, snapshot=None)
        return await self._provider.acquire(spec, record.id, head.epoch, on_phase), False

    async def _clear_unmirrored(self, sandbox: Sandbox, tree: Mapping[WorkspacePath, Entry]) -> None:
        """Of the files that its image or snapshot brought along, leave what the mirror has, and what it never has."""
        scan = await sandbox.scan(prune=self._exclusions.pruned_names)
        if not scan.entries:
            return
        if any(item.path == FOLDER for item in scan.entries):
            # Its commits come back from the mirror, newer ones too.
            await sandbox.exec(Command(text=f"rm -rf {FOLDER}", timeout_s=CLEAR_S))
        strange = [
            item.path
            for item in scan.entries
            if item.stat.kind is not EntryKind.DIRECTORY
            and item.path not in tree
            and not self._exclusions.is_excluded(item.path)
        ]
        for fault in await sandbox.remove_files(strange):
            log.warning("a file of the snapshot stays, which the mirror has not: %s", fault.error)

    def _access(self, record: WorkspaceRecord) -> GitAccess:
        url = record.spec.git_url
        return NO_ACCESS if url is None else access_to(url, self._credentials.of(url))

    async def _take_over(self, record: WorkspaceRecord, head: Head) -> Head:
        if head.number == 0:
            return Head(number=0, epoch=1)
        for attempt in range(TAKEOVER_TRIES):
            try:
                revision = await self._store.append(
                    record.id,
                    parent=head.number,
                    revision_id=uuid.uuid4().hex,
                    epoch=head.epoch + 1,
                    changes=(),
                    made_by="self-heal",
                )
            except Conflict:
                await anyio.sleep(0.01 * (attempt + 1))
                head = await self._store.head(record.id)
            else:
                return Head(number=revision.number, epoch=revision.epoch)
        raise SandboxUnavailable(
            "other servers kept writing to this workspace while its sandbox was to be replaced", hint="Repeat the call."
        )

    async def _mark(
        self, record: WorkspaceRecord, sandbox: Sandbox, mirror: Mirror, withheld: frozenset[WorkspacePath]
    ) -> None:
        """From here on the sandbox is the truth. After an import the index is empty: the first sync reads all."""
        index = Index()
        tree = await mirror.tree()
        if tree:
            await anyio.sleep(2 * CLOCK_GRAIN_NS / 1e9)  # so that the stats are safely older than the scan's clock
            scan = await sandbox.scan(prune=PRUNED_FOLDERS)
            stats = {
                item.path: item.stat
                for item in scan.entries
                if (entry := tree.get(item.path)) is not None
                and (entry.kind, entry.size) == (item.stat.kind, item.stat.size)
            }
            index = Index(clock_ns=scan.clock_ns, stats=stats)
        mark = Mark(
            workspace_id=record.id,
            epoch=mirror.epoch,
            revision=mirror.head.number,
            index=index,
            withheld=withheld,
        )
        await sandbox.write_mark(encode(mark))

    async def _destroy_old(self, record: WorkspaceRecord, epoch: int) -> None:
        """The new one is marked by now: whatever is the matter with the old one, the call has done what it was to."""
        try:
            await self._provider.destroy(record.id, epoch)
        except VaporformError as error:
            log.warning("left the sandbox of epoch %d behind: %s", epoch, error)


def _occupied(record: WorkspaceRecord) -> InvalidArgument:
    which = f"the snapshot {record.spec.snapshot}" if record.spec.snapshot else "the image"
    return InvalidArgument(
        f"{which} has files in the workspace's folder already, so that {record.spec.git_url} cannot be cloned into it",
        hint="Leave git_url out, or name an image or snapshot that leaves /workspace empty.",
    )
