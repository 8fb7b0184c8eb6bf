"""Waiting for a sandbox to run, and starting one that does not: by looks of our own, of which one may fail."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from vaporform_mcp.errors import SandboxLost, SandboxUnavailable
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.faults import failed, printable
from vaporform_mcp.sandboxes.daytona.service import Machine, Refused, Service

__all__ = ["ASLEEP", "GONE", "await_gone", "bring_up", "delete", "lost"]

log = logging.getLogger(__name__)

FIRST_LOOK_S = 0.1
SLOWEST_LOOK_S = 2.0
GONE_S = 60.0
BUSY_S = 15.0
"""How long a deletion waits for another change of the sandbox to end."""

GONE = frozenset({"destroyed", "destroying"})
ASLEEP = frozenset({"stopped", "paused", "archived"})
_SLOW = frozenset(
    {"pending_build", "building_snapshot", "pulling_snapshot", "archived", "archiving", "restoring"} | {"snapshotting"}
)
"""What takes minutes where it happens for the first time, out of an archive, or with a large disk."""

_PERCENT = {
    **{"pending_build": 5.0, "building_snapshot": 20.0, "pulling_snapshot": 50.0, "restoring": 50.0},
    **{"creating": 70.0, "starting": 80.0, "resuming": 80.0, "started": 100.0},
}


def lost(machine_id: str) -> SandboxLost:
    return SandboxLost(
        f"the Daytona sandbox {machine_id} was deleted",
        hint="Repeat the call: the workspace is restored from its mirror, in a new sandbox.",
    )


async def bring_up(
    service: Service, machine_id: str, config: DaytonaConfig, on_percent: Callable[[float], None]
) -> Machine:
    """The sandbox, running. Started, resumed, restored or recovered where it was not.

    Raises:
        SandboxLost: it was deleted.
        SandboxUnavailable: it failed, for the service's reason, or does not run in time; it goes on meanwhile.
    """
    began = anyio.current_time()
    limit_s, pause_s = config.ready_s, FIRST_LOOK_S
    asked = False
    recovered = False
    while True:
        machine = await _found(service, machine_id)
        if machine is None or machine.state in GONE:
            raise lost(machine_id)
        on_percent(_PERCENT.get(machine.state, 50.0))
        if machine.state in _SLOW:
            limit_s = max(limit_s, config.build_s)
        if machine.state == "started":
            return machine
        if machine.state in {"error", "build_failed"}:
            if recovered or not machine.recoverable:
                raise _broken(machine)
            recovered = True
            log.info("recovering the sandbox %s", machine.id)
            await _recover(service, machine)
        elif machine.state not in ASLEEP:
            asked = False  # a start under way may still fall back
        elif not asked:
            log.info("starting the sandbox %s, which was %s", machine.id, machine.state)
            asked = await _start(service, machine)
        if anyio.current_time() - began > limit_s:
            raise SandboxUnavailable(
                f"the Daytona sandbox {machine.id} is still {machine.state} after {limit_s:.0f} s",
                hint="Repeat the call: it joins what is under way. VAPORFORM_DAYTONA__READY_S and __BUILD_S bound it.",
            )
        await anyio.sleep(pause_s)
        pause_s = min(1.5 * pause_s, SLOWEST_LOOK_S)


async def delete(service: Service, machine_id: str) -> None:
    """Delete a sandbox, once what is under way with it is over. Raises `Refused` where that is not soon."""
    pause_s = FIRST_LOOK_S
    began = anyio.current_time()
    while True:
        try:
            return await service.delete(machine_id)
        except Refused as error:
            if error.failure.status != 409 or anyio.current_time() - began > BUSY_S:
                raise
        await anyio.sleep(pause_s)
        pause_s = min(1.5 * pause_s, SLOWEST_LOOK_S)


async def await_gone(service: Service, machine_id: str) -> None:
    """Until it is deleted, so that its name is free. Raises `SandboxUnavailable` where it is not in time."""
    pause_s = FIRST_LOOK_S
    with anyio.move_on_after(GONE_S):
        while True:
            machine = await _found(service, machine_id)
            if machine is None or machine.state == "destroyed":
                return
            await anyio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, SLOWEST_LOOK_S)
    raise SandboxUnavailable(
        f"the Daytona sandbox {machine_id} is still being deleted after {GONE_S:.0f} s", hint="Repeat the call."
    )


async def _found(service: Service, machine_id: str) -> Machine | None:
    try:
        return await service.find(machine_id)
    except Refused as error:
        raise failed(error.failure, "did not say how the sandbox is", machine_id) from None


async def _recover(service: Service, machine: Machine) -> None:
    try:
        await service.recover(machine.id)
    except Refused as error:
        raise failed(error.failure, "could not recover the sandbox", machine.id) from None


async def _start(service: Service, machine: Machine) -> bool:
    """False where it cannot be started at this moment, since something else is under way."""
    try:
        await service.start(machine.id)
    except Refused as error:
        if error.failure.status == 409:
            return False
        raise failed(error.failure, "could not start the sandbox", machine.id) from None
    return True


def _broken(machine: Machine) -> SandboxUnavailable:
    what = "could not be built" if machine.state == "build_failed" else "failed"
    reason = printable(machine.reason) or "the service gives no reason"
    return SandboxUnavailable(
        f"the Daytona sandbox {machine.id} {what}: {reason}",
        hint="Where an image is named, check that it exists, has a tag and is no snapshot. Otherwise repeat the call; "
        "`vaporform-mcp stop` and `vaporform-mcp ps` show and end what is left.",
    )
