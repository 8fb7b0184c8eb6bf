"""What tests steer the emulator with, over HTTP as well, since it is a process of its own."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import anyio
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from tests.emulators.daytona.automatic import sweep
from tests.emulators.daytona.bodies import read_body
from tests.emulators.daytona.control import Control
from tests.emulators.daytona.faults import Fault, Faults
from tests.emulators.daytona.lifecycle import Lifecycle, Outcome
from tests.emulators.daytona.limits import Limits
from tests.emulators.daytona.listing import Freshness
from tests.emulators.daytona.machine.wire import Refusal
from tests.emulators.daytona.previews import Previews
from tests.emulators.daytona.requests import CONTROL, Gate
from tests.emulators.daytona.snapshots import Snapshots
from tests.emulators.daytona.timings import QUICK, REAL
from tests.emulators.daytona.version import Daemon, Version

__all__ = ["Happening", "Settings", "Steering"]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Happening(_Shape):
    """A state that a sandbox comes to without being asked, or a creation or start to come ends in."""

    state: str
    reason: str = ""
    recoverable: bool = False


class Settings(_Shape):
    """What is given changes, the rest stays.

    `timings` are seconds by state; `real_timings` is the service's own pace. `rates` are requests a minute by
    throttler, `total_…` what the organization may have, `may_set_networks` what the smallest tiers may not.
    `lists` says how fresh they are, `toolbox_url` what is shown as the toolbox's address, `preview_warning` whether
    browsers are warned. `hosts` are names that sandboxes reach at addresses of a test's own. `daemon` is the version
    that the toolbox behaves like.
    """

    latency_s: float | None = None
    timings: dict[str, float] | None = None
    real_timings: bool = False
    rates: dict[str, int] | None = None
    plain_retry_after: bool | None = None
    total_cpu: int | None = None
    total_memory: int | None = None
    total_disk: int | None = None
    may_set_networks: bool | None = None
    lists: Freshness | None = None
    toolbox_url: str | None = None
    preview_warning: bool | None = None
    hosts: dict[str, str] | None = None
    daemon: Version | None = None


class Passing(_Shape):
    seconds: float


class Steering:
    def __init__(
        self,
        control: Control,
        previews: Previews,
        lifecycle: Lifecycle,
        snapshots: Snapshots,
        faults: Faults,
        gate: Gate,
        daemon: Daemon,
    ) -> None:
        self._control = control
        self._previews = previews
        self._lifecycle = lifecycle
        self._snapshots = snapshots
        self._faults = faults
        self._gate = gate
        self._daemon = daemon

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{CONTROL}/faults", self.add_fault),
            web.get(f"{CONTROL}/routes", self.get_routes),
            web.delete(f"{CONTROL}/faults", self.clear_faults),
            web.post(f"{CONTROL}/outcomes", self.add_outcome),
            web.post(CONTROL + "/sandboxes/{sandbox}", self.happen),
            web.delete(CONTROL + "/sandboxes/{sandbox}", self.vanish),
            web.post(CONTROL + "/snapshots/{snapshot}/deactivate", self.deactivate),
            web.post(f"{CONTROL}/settings", self.change_settings),
            web.post(f"{CONTROL}/clock", self.advance_clock),
            web.get(f"{CONTROL}/requests", self.get_requests),
            web.get(f"{CONTROL}/counters", self.get_counters),
            web.delete(f"{CONTROL}/requests", self.forget_requests),
            web.post(f"{CONTROL}/reset", self.reset),
        ]

    async def add_fault(self, request: web.Request) -> web.Response:
        fault = await read_body(request, Fault)
        if not any(fnmatchcase(name, fault.route) for name in _served(request)):
            raise Refusal(400, f"No route is called {fault.route}")
        self._faults.add(fault)
        return web.Response()

    async def get_routes(self, request: web.Request) -> web.Response:
        """The names of the service's own routes."""
        return web.json_response(_served(request))

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return web.Response()

    async def add_outcome(self, request: web.Request) -> web.Response:
        self._lifecycle.outcomes.append(_outcome(await read_body(request, Happening)))
        return web.Response()

    async def happen(self, request: web.Request) -> web.Response:
        sandbox = self._lifecycle.find(request.match_info["sandbox"])
        await self._lifecycle.force(sandbox, _outcome(await read_body(request, Happening)))
        return web.Response()

    async def vanish(self, request: web.Request) -> web.Response:
        await self._lifecycle.vanish(self._lifecycle.find(request.match_info["sandbox"]))
        return web.Response()

    async def deactivate(self, request: web.Request) -> web.Response:
        self._snapshots.deactivate(self._snapshots.find(request.match_info["snapshot"]))
        return web.Response()

    async def change_settings(self, request: web.Request) -> web.Response:
        settings = await read_body(request, Settings)
        gate, limits = self._gate, self._lifecycle.limits
        if settings.real_timings:
            self._lifecycle.timings.update(REAL)
        self._lifecycle.timings.update(settings.timings or {})
        gate.rates.per_minute.update(settings.rates or {})
        self._lifecycle.egress.hosts.update(settings.hosts or {})
        if settings.lists is not None:
            self._control.listing.set_freshness(settings.lists)
        for target, name, value in (
            (gate, "latency_s", settings.latency_s),
            (self._previews, "warns", settings.preview_warning),
            (self._daemon, "version", settings.daemon),
            (gate.rates, "plain_header", settings.plain_retry_after),
            (limits, "total_cpu", settings.total_cpu),
            (limits, "total_memory", settings.total_memory),
            (limits, "total_disk", settings.total_disk),
            (limits, "may_set_networks", settings.may_set_networks),
            (self._control, "toolbox_url", settings.toolbox_url),
        ):
            if value is not None:
                setattr(target, name, value)
        return web.Response()

    async def advance_clock(self, request: web.Request) -> web.Response:
        """Time passes at once, and what is due by then begins."""
        self._lifecycle.clock.advance((await read_body(request, Passing)).seconds)
        sweep(self._lifecycle)
        return web.Response()

    async def get_requests(self, _request: web.Request) -> web.Response:
        return web.json_response(self._gate.entries())

    async def get_counters(self, _request: web.Request) -> web.Response:
        """For each route how many requests there were, and the bytes of their bodies each way."""
        requests, received, sent = Counter[str](), Counter[str](), Counter[str]()
        for entry in self._gate.log:
            requests[entry.route] += 1
            received[entry.route] += entry.received_bytes
            sent[entry.route] += entry.sent_bytes
        return web.json_response({"requests": requests, "received_bytes": received, "sent_bytes": sent})

    async def forget_requests(self, _request: web.Request) -> web.Response:
        self._gate.log.clear()
        return web.Response()

    async def reset(self, _request: web.Request) -> web.Response:
        """As it was at its start: no sandbox, no fault, an empty log."""
        self._faults.clear()
        self._lifecycle.outcomes.clear()
        async with anyio.create_task_group() as tasks:
            for sandbox in self._lifecycle.all():
                tasks.start_soon(self._lifecycle.vanish, sandbox)
        self._snapshots.reset()
        self._lifecycle.clock.reset()
        self._lifecycle.timings.update(QUICK)
        self._lifecycle.limits = Limits()
        self._lifecycle.egress.hosts.clear()
        self._control.listing.set_freshness("live")
        self._control.toolbox_url = None
        self._previews.reset()
        self._gate.reset()
        self._daemon.version = "0.226"
        return web.Response()


def _served(request: web.Request) -> list[str]:
    routes = [each for each in request.app.router.routes() if each.resource is not None]
    own = [each for each in routes if not each.resource or not each.resource.canonical.startswith(CONTROL)]
    return sorted({each.handler.__name__ for each in own})


def _outcome(happening: Happening) -> Outcome:
    return Outcome(state=happening.state, reason=happening.reason, recoverable=happening.recoverable)
