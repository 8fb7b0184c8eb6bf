"""Daytona sandboxes: found by their name, made where there is none, deleted by their id."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import anyio

from vaporform_mcp.errors import Conflict, LimitReached, SandboxLost, SandboxUnavailable, VaporformError
from vaporform_mcp.sandboxes.base import OnPhase, ProviderInfo
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.faults import Failure, failed, is_transient
from vaporform_mcp.sandboxes.daytona.making import labels_of, name_of, network_of, order_of
from vaporform_mcp.sandboxes.daytona.reach import Reach
from vaporform_mcp.sandboxes.daytona.sandbox import ISOLATION, DaytonaSandbox
from vaporform_mcp.sandboxes.daytona.service import Machine, Order, Refused, Service
from vaporform_mcp.sandboxes.daytona.snapshots import DaytonaSnapshots
from vaporform_mcp.sandboxes.daytona.waking import GONE, await_gone, bring_up, delete
from vaporform_mcp.sandboxes.snapshots import Snapshots
from vaporform_mcp.types import Network, Phase, Spec

__all__ = ["DaytonaProvider", "open_daytona"]

log = logging.getLogger(__name__)

CREATE_TRIES = 4
FIRST_PAUSE_S = 0.5
CLOSE_S = 5.0
CLEAN_UP_S = 30.0


class DaytonaProvider:
    """Made by `open_daytona`. Safe for many callers at once."""

    def __init__(self, config: DaytonaConfig, service: Service) -> None:
        self._config = config
        self._service = service
        self._live: dict[tuple[str, int], DaytonaSandbox] = {}
        self._snapshots = DaytonaSnapshots(config, service)
        self._acquiring: dict[tuple[str, int], anyio.Lock] = {}

    @property
    def name(self) -> str:
        return "daytona"

    async def acquire(self, spec: Spec, workspace_id: str, epoch: int, on_phase: OnPhase) -> DaytonaSandbox:
        network = network_of(self._config, spec)
        order = order_of(self._config, spec, workspace_id, epoch)
        async with self._turn(workspace_id, epoch):
            on_phase(Phase.CREATING, 0.0)
            machine = await self._found(order, on_phase) or await self._new(order, on_phase)
            return await self._reached(machine, workspace_id, epoch, network, on_phase)

    async def find(self, spec: Spec, workspace_id: str, epoch: int, on_phase: OnPhase) -> DaytonaSandbox | None:
        network = network_of(self._config, spec)
        order = order_of(self._config, spec, workspace_id, epoch)
        async with self._turn(workspace_id, epoch):
            machine = await self._found(order, on_phase)
            return machine and await self._reached(machine, workspace_id, epoch, network, on_phase)

    async def destroy(self, workspace_id: str, epoch: int) -> None:
        name = name_of(workspace_id, epoch)
        live = self._live.pop((workspace_id, epoch), None)
        if live is not None:
            live.forget()
        try:
            machine = await self._service.find(name)
            if machine is not None and machine.state not in GONE:
                self._check_ours(machine)
                await delete(self._service, machine.id)
        except Refused as error:
            raise failed(error.failure, f"could not delete the sandbox {name}") from None

    @property
    def snapshots(self) -> Snapshots:
        return self._snapshots

    async def describe(self) -> ProviderInfo:
        config = self._config
        return ProviderInfo(
            name=self.name,
            isolation=ISOLATION,
            images=() if config.image is None else (config.image,),
            snapshots=() if config.snapshot is None else (config.snapshot,),
            public_previews=config.public,
            limits={
                "running": str(config.max_running),
                "sandboxes": str(config.max_sandboxes),
                "auto_stop_min": str(config.auto_stop_min),
                "auto_archive_min": str(config.auto_archive_min),
                "auto_delete_min": str(config.auto_delete_min),
            },
        )

    async def aclose(self) -> None:
        self._live.clear()

    # -----------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, workspace_id: str, epoch: int) -> AsyncGenerator[None]:
        """One at a time looks for a sandbox, or makes it."""
        turn = self._acquiring.setdefault((workspace_id, epoch), anyio.Lock())
        try:
            async with turn:
                yield
        except Refused as error:
            raise failed(error.failure, "did not answer about the sandbox") from None
        finally:
            if not turn.locked():  # else it is another's by now, who waited for it
                self._acquiring.pop((workspace_id, epoch), None)

    async def _reached(
        self, machine: Machine, workspace_id: str, epoch: int, network: Network, on_phase: OnPhase
    ) -> DaytonaSandbox:
        live = self._live.get((workspace_id, epoch))
        if live is None or live.is_lost or live.sandbox_id != machine.id:
            reach = Reach(self._service, self._config, machine)
            live = DaytonaSandbox(reach, workspace_id, epoch, config=self._config, network=network)
        await live.greet()
        self._live[workspace_id, epoch] = live
        on_phase(Phase.WAITING, 100.0)
        return live

    async def _found(self, order: Order, on_phase: OnPhase) -> Machine | None:
        """The sandbox of that name, running; None where there is none, and its name is free."""
        found = await self._service.find(order.name)
        if found is not None and found.state not in GONE:
            self._check_ours(found)
            try:
                return await self._brought_up(found, on_phase)
            except SandboxLost:
                await await_gone(self._service, found.id)
        elif found is not None:
            await await_gone(self._service, found.id)
        return None

    async def _brought_up(self, machine: Machine, on_phase: OnPhase) -> Machine:
        if machine.state == "started":
            return machine
        return await bring_up(self._service, machine.id, self._config, partial(_tell, on_phase))

    async def _new(self, order: Order, on_phase: OnPhase) -> Machine:
        await self._check_limits()
        machine_id = await self._made(order)
        try:
            return await bring_up(self._service, machine_id, self._config, partial(_tell, on_phase))
        except (SandboxLost, SandboxUnavailable) as error:
            await self._clean_up(machine_id)
            raise _not_made(error) from error

    async def _made(self, order: Order) -> str:
        """Ask for it until it is there: an answer that was lost is looked for by the name."""
        pause_s = FIRST_PAUSE_S
        for left in reversed(range(CREATE_TRIES)):
            try:
                return await self._service.create(order)
            except Refused as error:
                failure = error.failure
            if not is_transient(failure) and await self._is_mended(order.snapshot, failure):
                continue
            if failure.status != 409 and not is_transient(failure):
                raise failed(failure, "could not create the sandbox")
            found = await self._service.find(order.name)
            if found is not None and found.state not in GONE:
                self._check_ours(found)
                return found.id
            if found is not None:
                await await_gone(self._service, found.id)
            elif not left:
                raise failed(failure, "could not create the sandbox")
            await anyio.sleep(pause_s)
            pause_s *= 2
        raise SandboxUnavailable("Daytona did not create the sandbox", hint="Repeat the call.")

    async def _is_mended(self, snapshot: str | None, failure: Failure) -> bool:
        """Whether it was for the snapshot that none was made, and it can be used now: what the service says of one that
        is inactive, still being saved or not there tells them apart badly.
        """
        return (
            snapshot is not None and failure.status in {400, 404, 422} and await self._snapshots.made_usable(snapshot)
        )

    async def _clean_up(self, machine_id: str) -> None:
        """What was asked for and failed is of no use to anybody; one that is merely late is joined by the next call."""
        with anyio.move_on_after(CLEAN_UP_S, shield=True):
            try:
                machine = await self._service.find(machine_id)
                if machine is not None and machine.state in {"error", "build_failed"}:
                    await delete(self._service, machine.id)
            except Refused as error:
                log.warning("left the failed sandbox %s behind: %s", machine_id, error.failure.said)

    async def _check_limits(self) -> None:
        listed = [each for each in await self._service.list(labels_of(self._config)) if each["state"] not in GONE]
        running = [each for each in listed if each["state"] in {"started", "starting", "creating"}]
        end_one, drop_one = "Stop one with `vaporform-mcp stop`", "Delete a workspace that nobody needs"
        for which, found, most, setting, mend in (
            ("run", running, self._config.max_running, "MAX_RUNNING", end_one),
            ("exist", listed, self._config.max_sandboxes, "MAX_SANDBOXES", drop_one),
        ):
            if len(found) >= most:
                named = ", ".join(each["name"] for each in found[:5])
                raise LimitReached(
                    f"{len(found)} sandboxes of this store {which} already, as many as may",
                    hint=f"{mend}: {named}. A person can change VAPORFORM_DAYTONA__{setting}.",
                )

    def _check_ours(self, machine: Machine) -> None:
        """Nothing that another store, or anybody else, made is ever used or deleted."""
        if machine.labels.get("vaporform-store") != self._config.store_id:
            raise Conflict(
                f"the sandbox {machine.id}, named {machine.name}, belongs to another store than this server's",
                hint="Use the store that it was made with, or delete it in Daytona's dashboard.",
            )


def _tell(on_phase: OnPhase, percent: float) -> None:
    on_phase(Phase.CREATING if percent < 100 else Phase.WAITING, percent)


def _not_made(error: VaporformError) -> VaporformError:
    if isinstance(error, SandboxLost):
        return SandboxUnavailable(f"{error} while it was made", hint="Repeat the call.")
    return error


@asynccontextmanager
async def open_daytona(config: DaytonaConfig) -> AsyncGenerator[DaytonaProvider]:
    """The provider, whose connections are closed in the end; sandboxes go on."""
    service = Service(config)
    provider = DaytonaProvider(config, service)
    try:
        yield provider
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await provider.aclose()
            await service.aclose()
