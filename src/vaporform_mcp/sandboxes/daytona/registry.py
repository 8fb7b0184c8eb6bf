"""The sandboxes of this store that the service has: looked at and stopped by people, without a workspace open."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vaporform_mcp.errors import NotFound
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.faults import failed
from vaporform_mcp.sandboxes.daytona.making import labels_of, name_of
from vaporform_mcp.sandboxes.daytona.service import Machine, Refused, Service
from vaporform_mcp.sandboxes.daytona.waking import ASLEEP, GONE

__all__ = ["Known", "known_sandboxes", "stop_sandbox"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """`state` is running, stopped, or what the service calls it. The rest only local sandboxes tell of."""

    workspace_id: str
    epoch: int
    state: str
    pid: int | None = None
    servers: int = 0
    processes: int = 0
    uptime_s: float = 0.0


async def known_sandboxes(config: DaytonaConfig) -> Sequence[Known]:
    """Each confirmed by its id, since the service's list may be behind."""
    found: list[Known] = []
    async with _asking(config) as service:
        for listed in await service.list(labels_of(config)):
            machine = await service.find(listed["id"])
            if machine is not None and machine.state not in GONE and (known := _known(machine)) is not None:
                found.append(known)
    return found


async def stop_sandbox(config: DaytonaConfig, workspace_id: str, epoch: int) -> None:
    """Its files stay, and the next call that needs it starts it. Raises `NotFound`."""
    async with _asking(config) as service:
        machine = await service.find(name_of(workspace_id, epoch))
        if machine is None or machine.labels.get("vaporform-store") != config.store_id:
            raise NotFound("the sandbox is not there any more", hint="See `vaporform-mcp ps`.")
        if machine.state not in ASLEEP:
            await service.stop(machine.id)


@asynccontextmanager
async def _asking(config: DaytonaConfig) -> AsyncGenerator[Service]:
    service = Service(config)
    try:
        yield service
    except Refused as error:
        raise failed(error.failure, "did not answer about the sandboxes") from None
    finally:
        await service.aclose()


def _known(machine: Machine) -> Known | None:
    epoch = machine.labels.get("vaporform-epoch", "")
    if not epoch.isdecimal():
        return None
    state = "running" if machine.state == "started" else "stopped" if machine.state in ASLEEP else machine.state
    return Known(workspace_id=machine.labels.get("vaporform-workspace", ""), epoch=int(epoch), state=state)
