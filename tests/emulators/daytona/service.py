"""The whole service: control plane, toolbox and what tests steer it with, on one port of this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from aiohttp import web

from tests.emulators.daytona.automatic import keep_sweeping
from tests.emulators.daytona.clock import Clock
from tests.emulators.daytona.control import Control
from tests.emulators.daytona.egress import Egress
from tests.emulators.daytona.faults import Faults
from tests.emulators.daytona.lifecycle import Lifecycle
from tests.emulators.daytona.limits import Rates
from tests.emulators.daytona.machines import Machines
from tests.emulators.daytona.previews import Previews
from tests.emulators.daytona.requests import Gate
from tests.emulators.daytona.snapshot_routes import SnapshotRoutes
from tests.emulators.daytona.snapshots import Snapshots
from tests.emulators.daytona.steering import Steering
from tests.emulators.daytona.toolbox import Toolbox
from tests.emulators.daytona.toolbox_files import Files
from tests.emulators.daytona.toolbox_process import Process
from tests.emulators.daytona.toolbox_sessions import Sessions
from tests.emulators.daytona.toolbox_terminals import Terminals
from tests.emulators.daytona.version import Daemon

__all__ = ["open_service"]

_MAX_BODY = 1 << 32
_STOP_S = 1.0


@asynccontextmanager
async def open_service(data: Path, *, port: int, key: str) -> AsyncGenerator[str]:
    """Serve while the block runs; its value is the service's address. `data` keeps the sandboxes' files meanwhile."""
    clock, faults = Clock(), Faults()
    rates, daemon = Rates(clock), Daemon()
    machines, egress = Machines(data), Egress()
    gate = Gate(faults, rates, daemon, clock, key)
    address = ""

    def base() -> str:
        return address

    async with anyio.create_task_group() as tasks:
        lifecycle = Lifecycle(machines, egress, clock, tasks)
        snapshots = Snapshots(lifecycle, data / "snapshots", tasks)
        toolbox = Toolbox(lifecycle, daemon)
        previews = Previews(lifecycle, base)
        app = web.Application(middlewares=[gate.middleware(), previews.middleware()], client_max_size=_MAX_BODY)
        control = Control(lifecycle, snapshots, base)
        app.add_routes(control.routes("/api"))
        app.add_routes(SnapshotRoutes(lifecycle, snapshots, base).routes("/api"))
        app.add_routes(previews.routes("/api"))
        for part in (Files(toolbox), Process(toolbox), Sessions(toolbox), Terminals(toolbox)):
            app.add_routes(part.routes("/toolbox/{sandbox}"))
        app.add_routes(Steering(control, previews, lifecycle, snapshots, faults, gate, daemon).routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S, auto_decompress=False)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port, backlog=512)
            await site.start()
            host, bound = runner.addresses[0][:2]
            address = f"http://{host}:{bound}"
            tasks.start_soon(keep_sweeping, lifecycle)
            yield address
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()
                await lifecycle.aclose()
                machines.aclose()
            tasks.cancel_scope.cancel()
