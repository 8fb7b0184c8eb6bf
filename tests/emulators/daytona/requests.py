"""What every request meets before and after it is served: the log, delays, faults, the key, and how errors are told."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from dataclasses import asdict, dataclass

import anyio
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tests.emulators.daytona.clock import Clock, stamp
from tests.emulators.daytona.faults import Fault, Faults
from tests.emulators.daytona.limits import Rates
from tests.emulators.daytona.machine.wire import Refusal
from tests.emulators.daytona.version import Daemon

__all__ = ["CONTROL", "Cutter", "Entry", "Gate", "Streamed", "preview_place", "route_of"]

CONTROL = "/_emulator"
_PLACE = re.compile(r"(\d{1,5})-([0-9A-Za-z-]{8,})")
_MAX_LOG = 100_000
_FOR_EVER_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request as it was answered. `status` is 0 where no answer was given."""

    route: str
    method: str
    path: str
    sandbox: str
    status: int
    received_bytes: int
    sent_bytes: int
    headers: dict[str, str]


def preview_place(request: web.Request) -> re.Match[str] | None:
    """Of a request for a preview, its port and whose it is: from the host's name, or from the path."""
    if found := _PLACE.fullmatch(request.host.partition(".")[0]):
        return found
    prefix, _, rest = request.path.partition("/preview/")
    return None if prefix else _PLACE.fullmatch(rest.partition("/")[0])


def route_of(request: web.Request) -> str:
    """The name of the handler, by which tests name requests."""
    if preview_place(request) is not None:
        return "preview"
    return getattr(request.match_info.handler, "__name__", "")


class Gate:
    """The middleware. `latency_s` is added to each request, as a network would."""

    def __init__(self, faults: Faults, rates: Rates, daemon: Daemon, clock: Clock, key: str) -> None:
        self.latency_s = 0.0
        self.log: deque[Entry] = deque(maxlen=_MAX_LOG)
        self._faults = faults
        self.rates = rates
        self._clock = clock
        self._daemon = daemon
        self._key = key

    def reset(self) -> None:
        self.latency_s = 0.0
        self.rates.reset()
        self.log.clear()

    def entries(self) -> list[dict[str, object]]:
        return [asdict(entry) for entry in self.log]

    def middleware(self) -> Middleware:
        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(CONTROL):
                return await self._told(request, handler)
            response: web.StreamResponse | None = None
            try:
                response = await self._pass(request, handler)
                return response
            finally:
                self._note(request, response)

        return gate

    def _note(self, request: web.Request, response: web.StreamResponse | None) -> None:
        entry = Entry(
            route=route_of(request),
            method=request.method,
            path=request.path_qs,
            sandbox=_sandbox_of(request),
            status=0 if response is None or "cut" in response else response.status,
            received_bytes=request.content.total_bytes,
            sent_bytes=0 if response is None else _sent(response),
            headers={name: value for name, value in request.headers.items() if name != "Authorization"},
        )
        self.log.append(entry)

    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self._faults.take(route_of(request), _sandbox_of(request))
        await anyio.sleep(self.latency_s + (fault.delay_s if fault else 0))
        if fault is None or fault.close_code is not None or fault.drop == "during":
            if fault is not None:
                request["fault"] = fault
            return await self._allowed(request, handler)
        if "after" in (fault.drop, fault.stall):
            await self._allowed(request, handler)
        if fault.drop:
            return _cut(request)
        if fault.stall:
            await asyncio.sleep(_FOR_EVER_S)
        if fault.status is not None:
            await request.read()
            return web.Response(status=fault.status, body=fault.body.encode(), headers=fault.headers)
        return await self._allowed(request, handler)

    async def _allowed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request)
        if route == "preview":
            return await self._told(request, handler)
        needs_key = request.path.startswith(("/api/", "/toolbox/")) and "/socket.io/" not in request.path
        if needs_key and request.headers.get("Authorization") != f"Bearer {self._key}":
            return self._tell(request, Refusal(401, "Invalid credentials"))
        if not request.path.startswith("/api/"):
            return await self._told(request, handler)
        refused, headers = self.rates.check(route)
        response = refused or await self._told(request, handler)
        if not response.prepared:
            response.headers.update(headers)
        return response

    async def _told(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as refusal:
            return self._tell(request, refusal)
        except json.JSONDecodeError:
            return self._tell(request, Refusal(400, "invalid request body", "BAD_REQUEST"))
        except ConnectionResetError:
            return _cut(request)
        except web.HTTPException as error:
            return self._tell(request, Refusal(error.status, f"Cannot {request.method} {request.path}"))

    def _tell(self, request: web.Request, refusal: Refusal) -> web.Response:
        if not refusal.message:
            return web.Response(status=refusal.status)
        body: dict[str, object] = {
            "statusCode": refusal.status,
            "message": refusal.message,
            "timestamp": stamp(self._clock.now()),
            "path": request.path,
            "method": request.method,
        }
        code = refusal.code
        if request.path.startswith("/toolbox/") and code:
            if self._daemon.hosted:
                body["source"] = "DAYTONA_DAEMON"
            elif code == "PROCESS_EXECUTION_TIMEOUT":
                code = "REQUEST_TIMEOUT"
        if code:
            body["code"] = code
        return web.json_response(body, status=refusal.status)


def _sandbox_of(request: web.Request) -> str:
    """As the request names it: an id, a name, or the token of a preview's URL."""
    place = preview_place(request)
    return place[2] if place is not None else request.match_info.get("sandbox", "")


class Streamed(web.StreamResponse):
    """An answer that goes out in parts, and knows how much of it has."""

    sent_bytes = 0
    cutter: Cutter | None = None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        await super().write(data)
        self.sent_bytes += len(data)
        if self.cutter is not None:
            self.cutter.passed(len(data))


class Cutter:
    """Cuts a connection in the middle of what goes through it, where a fault says so."""

    def __init__(self, request: web.Request) -> None:
        fault: object = request.get("fault")
        self._request = request
        self._left = fault.after_bytes if isinstance(fault, Fault) and fault.drop == "during" else None

    def passed(self, count: int) -> None:
        """Raises `ConnectionError` where that was enough."""
        if self._left is None:
            return
        self._left -= count
        if self._left < 0:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError


def _sent(response: web.StreamResponse) -> int:
    """The bytes of a body. One that is given whole is not on its way yet, one that is streamed already was."""
    if isinstance(response, web.Response):
        return len(response.body) if isinstance(response.body, bytes | bytearray) else 0
    return response.sent_bytes if isinstance(response, Streamed) else 0


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    response = web.Response()
    response["cut"] = True
    return response
