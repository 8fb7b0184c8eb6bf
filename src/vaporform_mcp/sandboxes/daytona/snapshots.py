"""Snapshots of Daytona sandboxes: saved, listed, deleted, and made usable for a sandbox that is to be made of one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import anyio

from vaporform_mcp.errors import Conflict, InvalidArgument, NotFound, NotSupported, SandboxUnavailable, VaporformError
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.faults import failed, is_transient
from vaporform_mcp.sandboxes.daytona.making import labels_of, name_of
from vaporform_mcp.sandboxes.daytona.service import Machine, Refused, Service
from vaporform_mcp.sandboxes.daytona.snapshot_service import Saved, SnapshotService
from vaporform_mcp.sandboxes.daytona.waking import FIRST_LOOK_S, GONE, SLOWEST_LOOK_S, bring_up, lost
from vaporform_mcp.sandboxes.snapshots import Snapshot, SnapshotState, check_snapshot_name, nearest

__all__ = ["DaytonaSnapshots"]

log = logging.getLogger(__name__)

TRIES = 4
FIRST_PAUSE_S = 0.5
FLUSH_S = 30.0
CLEAN_UP_S = 30.0


class DaytonaSnapshots:
    """Safe for many callers at once. The service does the work, so that a wait that was given up costs nothing."""

    def __init__(self, config: DaytonaConfig, service: Service) -> None:
        self._config = config
        self._service = service
        self._snapshots = SnapshotService(service)
        # Asked for by this server and not told the outcome of: asked for again, they are joined.
        self._begun: set[tuple[str, str]] = set()

    def check_name(self, name: str) -> None:
        check_snapshot_name(name)

    async def save(self, workspace_id: str, epoch: int, name: str, *, wait_s: float) -> Snapshot:
        check_snapshot_name(name)
        deadline = anyio.current_time() + wait_s
        try:
            machine = await self._machine(workspace_id, epoch)
            known = await self._snapshots.find(name)
            if known is not None and not self._is_joined(machine, known):
                raise _taken(known)
            if known is None:
                await self._begin(machine, name)
            self._begun.add((machine.id, name))
            saved = await self._await_saved(machine, name, deadline)
        except Refused as error:
            raise failed(error.failure, f"did not answer about the snapshot {name}") from None
        return _shown(saved, workspace_id) if saved else Snapshot(name=name, state=SnapshotState.SAVING)

    async def list(self) -> Sequence[Snapshot]:
        try:
            found = await self._snapshots.list()
            ours = await self._workspaces(found)
        except Refused as error:
            raise failed(error.failure, "did not list the snapshots") from None
        return [_shown(each, ours.get(each.source or "")) for each in found]

    async def find(self, name: str) -> Snapshot:
        try:
            found = await self._found(name)
            ours = await self._workspaces([found])
        except Refused as error:
            raise failed(error.failure, f"did not answer about the snapshot {name}") from None
        return _shown(found, ours.get(found.source or ""))

    async def delete(self, name: str, *, wait_s: float) -> bool:
        deadline = anyio.current_time() + wait_s
        try:
            found = await self._found(name)
            if found.is_general:
                raise NotSupported(
                    f"the snapshot {name} is Daytona's own, for all accounts", hint="Name one that was saved."
                )
            if found.state is not SnapshotState.REMOVING:
                await self._snapshots.delete(found)
            pause_s = FIRST_LOOK_S
            while (left := await self._snapshots.find(name)) is not None and anyio.current_time() < deadline:
                await anyio.sleep(pause_s)
                pause_s = min(1.5 * pause_s, SLOWEST_LOOK_S)
        except Refused as error:
            raise failed(error.failure, f"could not delete the snapshot {name}") from None
        return left is None

    async def made_usable(self, name: str) -> bool:
        """Whether a sandbox that could not be made of it may be by now: it was inactive, or still being saved.

        Raises:
            NotFound: there is none of that name; the nearest are named.
            InvalidArgument: it failed when it was made.
            SandboxUnavailable: it is not usable in time.
        """
        found = await self._found(name)
        if found.state is SnapshotState.ACTIVE:
            return False
        if found.state is SnapshotState.INACTIVE:
            log.info("activating the snapshot %s", name)
            await self._activate(found)
        pause_s = FIRST_LOOK_S
        with anyio.move_on_after(self._config.build_s):
            while found.state in {SnapshotState.SAVING, SnapshotState.INACTIVE}:
                await anyio.sleep(pause_s)
                pause_s = min(1.5 * pause_s, SLOWEST_LOOK_S)
                found = await self._found(name)
        match found.state:
            case SnapshotState.ACTIVE:
                return True
            case SnapshotState.FAILED:
                raise InvalidArgument(
                    f"the snapshot {name} could not be made: {found.reason or 'the service gives no reason'}",
                    hint="Delete it and save it again, or name another.",
                )
            case SnapshotState.REMOVING:
                raise NotFound(f"the snapshot {name} is being deleted", hint="Name another.")
            case _:
                raise SandboxUnavailable(
                    f"the snapshot {name} is still {found.state.value} after {self._config.build_s:.0f} s",
                    hint="Repeat the call: it joins what is under way. VAPORFORM_DAYTONA__BUILD_S bounds it.",
                )

    # -----------------------------------------------------------------------------------------------------------

    async def _machine(self, workspace_id: str, epoch: int) -> Machine:
        """The sandbox, in a state in which it can be saved, and what was written in it on its disk."""
        name = name_of(workspace_id, epoch)
        machine = await self._service.find(name)
        if machine is None or machine.state in GONE:
            raise lost(machine.id if machine is not None else name)
        if machine.state not in {"started", "stopped", "snapshotting"}:
            machine = await bring_up(self._service, machine.id, self._config, _ignore)
        if machine.state == "started":
            try:
                await self._service.execute(machine, "sync", within_s=FLUSH_S)
            except Refused as error:
                log.info("the sandbox was not flushed before it is saved: %s", error.failure.said)
        return machine

    def _is_joined(self, machine: Machine, known: Saved) -> bool:
        is_under_way = known.state is SnapshotState.SAVING and known.source == machine.id
        return is_under_way or (machine.id, known.name) in self._begun

    async def _begin(self, machine: Machine, name: str) -> None:
        """Ask for it until it is under way: an answer that was lost is looked for by the name."""
        pause_s = FIRST_PAUSE_S
        for left in reversed(range(TRIES)):
            try:
                await self._snapshots.save(machine.id, name)
            except Refused as error:
                failure = error.failure
            else:
                return
            if failure.status != 409 and not is_transient(failure):
                raise failed(failure, f"could not save the snapshot {name}", machine.id)
            found = await self._snapshots.find(name)
            if found is not None and found.source == machine.id:
                return
            if found is not None:
                raise _taken(found)
            if not left:
                raise failed(failure, f"could not save the snapshot {name}", machine.id)
            await anyio.sleep(pause_s)
            pause_s *= 2

    async def _await_saved(self, machine: Machine, name: str, deadline: float) -> Saved | None:
        """How far it is at the deadline; None where the service does not show it yet."""
        pause_s = FIRST_LOOK_S
        missing_until = anyio.current_time() + self._config.ready_s
        while True:
            found = await self._snapshots.find(name)
            if found is not None and found.state is SnapshotState.FAILED:
                await self._clean_up(found)
                self._begun.discard((machine.id, name))
                raise SandboxUnavailable(
                    f"the snapshot {name} could not be saved: {found.reason or 'the service gives no reason'}",
                    hint="The workspace is as it was. Repeat the call.",
                )
            if found is not None and found.state is not SnapshotState.SAVING:
                self._begun.discard((machine.id, name))
                return found
            now = anyio.current_time()
            if found is None and now > missing_until:
                self._begun.discard((machine.id, name))
                raise SandboxUnavailable(
                    f"nothing is to be seen of the snapshot {name} {self._config.ready_s:.0f} s after it was asked for",
                    hint="The workspace is as it was. Repeat the call.",
                )
            if now >= deadline:
                return found
            await anyio.sleep(min(pause_s, deadline - now))
            pause_s = min(1.5 * pause_s, SLOWEST_LOOK_S)

    async def _clean_up(self, found: Saved) -> None:
        """A snapshot that failed is of no use to anybody, and keeps its name."""
        with anyio.move_on_after(CLEAN_UP_S, shield=True):
            try:
                await self._snapshots.delete(found)
            except Refused as error:
                log.warning("left the failed snapshot %s behind: %s", found.name, error.failure.said)

    async def _activate(self, found: Saved) -> None:
        try:
            await self._snapshots.activate(found)
        except Refused as error:
            # Another server may have been quicker; the looks that follow tell.
            if error.failure.status not in {400, 409}:
                raise

    async def _found(self, name: str) -> Saved:
        found = await self._snapshots.find(name)
        if found is None:
            near = nearest(name, [each.name for each in await self._snapshots.list()])
            raise NotFound(
                f"the account has no snapshot {name[:80]}",
                hint=near or "`vaporform-mcp snapshots` lists those that there are.",
            )
        return found

    async def _workspaces(self, found: Sequence[Saved]) -> Mapping[str, str]:
        """Workspaces of this store by the ids of their sandboxes, as far as there are any still, and it matters."""
        if not any(each.source for each in found):
            return {}
        listed = await self._service.list(labels_of(self._config))
        return {each["id"]: each["name"].removeprefix("vaporform-").rpartition("-")[0] for each in listed}


def _taken(known: Saved) -> VaporformError:
    return Conflict(
        f"there is a snapshot {known.name} already ({known.state.value})",
        hint="Choose another name, delete that one, or open a workspace from it.",
    )


def _shown(found: Saved, workspace_id: str | None) -> Snapshot:
    return Snapshot(
        name=found.name,
        state=found.state,
        size_gb=found.size_gb,
        created_at=found.created_at,
        reason=found.reason,
        is_general=found.is_general,
        workspace_id=workspace_id,
    )


def _ignore(_percent: float) -> None:
    """Nobody watches: whoever saves waits for its own answer."""
