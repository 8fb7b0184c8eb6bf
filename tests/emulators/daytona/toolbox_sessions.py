"""The toolbox's routes for sessions, and for the output of their commands."""

from __future__ import annotations

import json

import anyio
from aiohttp import web

from tests.emulators.daytona.machine.wire import DATA, Fields, Refusal, is_fields, read_result
from tests.emulators.daytona.toolbox import Toolbox
from tests.emulators.daytona.websockets import CutOff, Socket

__all__ = ["Sessions"]

_FIRST_WITH_JSON_LOGS = (0, 167, 0)


class Sessions:
    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def routes(self, prefix: str) -> list[web.RouteDef]:
        one = prefix + "/process/session/{session}"
        command = one + "/command/{command}"
        return [
            web.get(f"{prefix}/process/session", self.list_sessions),
            web.post(f"{prefix}/process/session", self.create_session),
            web.get(one, self.get_session),
            web.delete(one, self.delete_session),
            web.post(one + "/exec", self.execute_in_session),
            web.get(command, self.get_session_command),
            web.post(command + "/input", self.send_input),
            web.get(command + "/logs", self.get_session_logs),
        ]

    async def _ask(self, request: web.Request, operation: str, **fields: object) -> object:
        return await self._toolbox.ask(request, f"sessions.{operation}", {**fields, **_names(request)})

    async def list_sessions(self, request: web.Request) -> web.Response:
        return web.json_response(await self._ask(request, "list"))

    async def create_session(self, request: web.Request) -> web.Response:
        fields: Fields = json.loads(await request.read())
        await self._ask(request, "create", **fields)
        return web.Response(status=201)

    async def get_session(self, request: web.Request) -> web.Response:
        return web.json_response(await self._ask(request, "show"))

    async def delete_session(self, request: web.Request) -> web.Response:
        await self._ask(request, "delete")
        return web.Response(status=204)

    async def execute_in_session(self, request: web.Request) -> web.Response:
        fields: Fields = json.loads(await request.read())
        result = await self._toolbox.ask(request, "sessions.execute", {**_names(request), **fields})
        assert is_fields(result)
        return web.json_response(result, status=200 if "exitCode" in result else 202)

    async def get_session_command(self, request: web.Request) -> web.Response:
        return web.json_response(await self._ask(request, "command"))

    async def send_input(self, request: web.Request) -> web.Response:
        fields: Fields = json.loads(await request.read())
        await self._ask(request, "input", **fields)
        return web.Response(status=204)

    async def get_session_logs(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._follow(request)
        logs = await self._ask(request, "logs")
        assert is_fields(logs)
        if _sdk_version(request) < _FIRST_WITH_JSON_LOGS:
            return web.Response(text=str(logs["output"]))
        return web.json_response(logs)

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        async with self._toolbox.connect(request, "sessions.follow", _names(request)) as connection:
            kind, payload = await connection.receive()
            if kind != DATA:
                read_result(payload)  # a session or command that is not there is no WebSocket
            socket = Socket(request)
            try:
                await socket.open()
                while kind == DATA:
                    await socket.send(payload)
                    kind, payload = await connection.receive()
                await socket.close()
            except (CutOff, ConnectionError):
                pass
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                await socket.close(1011)  # its sandbox ended
            return socket.response


def _names(request: web.Request) -> Fields:
    return {name: value for name, value in request.match_info.items() if name in {"session", "command"}}


def _sdk_version(request: web.Request) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in request.headers.get("X-Daytona-SDK-Version", "0").split("."))
    except ValueError:
        raise Refusal(400, "invalid SDK version", "BAD_REQUEST") from None
