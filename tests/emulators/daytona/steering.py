"""What tests steer the emulator with, over HTTP as well, since it is a process of its own."""

from __future__ import annotations

from collections import Counter

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from tests.emulators.daytona.bodies import read_body
from tests.emulators.daytona.faults import Fault, Faults
from tests.emulators.daytona.lifecycle import Lifecycle, Outcome
from tests.emulators.daytona.requests import CONTROL, Gate
from tests.emulators.daytona.snapshots import Snapshots
from tests.emulators.daytona.timings import QUICK, REAL

__all__ = ["Happening", "Settings", "Steering"]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Happening(_Shape):
    """A state that a sandbox comes to without being asked, or a creation or start to come ends in."""

    state: str
    reason: str = ""
    recoverable: bool = False


class Settings(_Shape):
    """What is given changes, the rest stays. `timings`: seconds by state; `real_timings`: the service's own pace."""

    latency_s: float | None = None
    timings: dict[str, float] | None = None
    real_timings: bool = False


class Steering:
    def __init__(self, lifecycle: Lifecycle, snapshots: Snapshots, faults: Faults, gate: Gate) -> None:
        self._lifecycle = lifecycle
        self._snapshots = snapshots
        self._faults = faults
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{CONTROL}/faults", self.add_fault),
            web.delete(f"{CONTROL}/faults", self.clear_faults),
            web.post(f"{CONTROL}/outcomes", self.add_outcome),
            web.post(CONTROL + "/sandboxes/{sandbox}", self.happen),
            web.delete(CONTROL + "/sandboxes/{sandbox}", self.vanish),
            web.post(f"{CONTROL}/settings", self.change_settings),
            web.get(f"{CONTROL}/requests", self.get_requests),
            web.get(f"{CONTROL}/counters", self.get_counters),
            web.delete(f"{CONTROL}/requests", self.forget_requests),
            web.post(f"{CONTROL}/reset", self.reset),
        ]

    async def add_fault(self, request: web.Request) -> web.Response:
        return web.json_response({"id": self._faults.add(await read_body(request, Fault))})

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

    async def change_settings(self, request: web.Request) -> web.Response:
        settings = await read_body(request, Settings)
        if settings.latency_s is not None:
            self._gate.latency_s = settings.latency_s
        if settings.real_timings:
            self._lifecycle.timings.update(REAL)
        self._lifecycle.timings.update(settings.timings or {})
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
        for sandbox in self._lifecycle.all():
            await self._lifecycle.vanish(sandbox)
        self._snapshots.reset()
        self._lifecycle.clock.reset()
        self._lifecycle.timings.update(QUICK)
        self._gate.latency_s = 0.0
        self._gate.log.clear()
        return web.Response()


def _outcome(happening: Happening) -> Outcome:
    return Outcome(state=happening.state, reason=happening.reason, recoverable=happening.recoverable)
