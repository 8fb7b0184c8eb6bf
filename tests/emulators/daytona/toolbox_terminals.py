"""The toolbox's routes for terminals."""

from __future__ import annotations

import base64
import json

import aiohttp
import anyio
from aiohttp import web

from tests.emulators.daytona.machine.wire import DATA, END, Fields, Refusal, is_fields, read_result
from tests.emulators.daytona.machines import Connection
from tests.emulators.daytona.toolbox import Toolbox
from tests.emulators.daytona.websockets import CutOff, Socket

__all__ = ["Terminals"]

_EXIT_CONTROL = "X-Daytona-Pty-Exit-Control"
_ENVS = "X-Daytona-Pty-Envs~"
_MAX_INPUT = 64 * 1024


class Terminals:
    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def routes(self, prefix: str) -> list[web.RouteDef]:
        one = prefix + "/process/pty/{terminal}"
        return [
            web.get(f"{prefix}/process/pty", self.list_terminals),
            web.post(f"{prefix}/process/pty", self.create_terminal),
            web.get(f"{prefix}/process/pty/create-connect", self.create_and_connect_terminal),
            web.get(one, self.get_terminal),
            web.delete(one, self.kill_terminal),
            web.post(one + "/resize", self.resize_terminal),
            web.get(one + "/connect", self.connect_terminal),
        ]

    async def _ask(self, request: web.Request, operation: str, fields: Fields | None = None) -> object:
        named: Fields = {"terminal": request.match_info.get("terminal"), **(fields or {})}
        return await self._toolbox.ask(request, f"terminals.{operation}", named)

    async def list_terminals(self, request: web.Request) -> web.Response:
        return web.json_response(await self._ask(request, "list"))

    async def create_terminal(self, request: web.Request) -> web.Response:
        fields: Fields = json.loads(await request.read())
        return web.json_response(await self._ask(request, "create", fields), status=201)

    async def get_terminal(self, request: web.Request) -> web.Response:
        return web.json_response(await self._ask(request, "show"))

    async def kill_terminal(self, request: web.Request) -> web.Response:
        await self._ask(request, "delete")
        return web.json_response({"message": "PTY session deleted"})

    async def resize_terminal(self, request: web.Request) -> web.Response:
        fields: Fields = json.loads(await request.read())
        return web.json_response(await self._ask(request, "resize", fields))

    async def create_and_connect_terminal(self, request: web.Request) -> web.StreamResponse:
        if not self._toolbox.daemon.hosted:
            # The older daemon takes it for the name of a terminal.
            raise Refusal(404, "PTY session not found", "NOT_FOUND")
        fields: Fields = dict(request.query)
        for protocol in _protocols(request):
            if protocol.startswith(_ENVS):
                encoded = protocol.removeprefix(_ENVS)
                fields["envs"] = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        await self._ask(request, "create", fields)
        return await self._connect(request, str(fields.get("id")))

    async def connect_terminal(self, request: web.Request) -> web.StreamResponse:
        return await self._connect(request, request.match_info["terminal"])

    async def _connect(self, request: web.Request, name: str) -> web.StreamResponse:
        async with self._toolbox.connect(request, "terminals.connect", {"terminal": name}) as connection:
            kind, payload = await connection.receive()
            if kind != END:
                read_result(payload)
            tells_exit = _EXIT_CONTROL in _protocols(request) and self._toolbox.daemon.hosted
            socket, code = Socket(request, [_EXIT_CONTROL]), 0
            try:
                await socket.open()
                await socket.send('{"type":"control","status":"connected"}')
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_pass_in, socket, connection)
                    code = await _pass_out(connection, socket)
                    tasks.cancel_scope.cancel()
                await _end(socket, code, tells_exit=tells_exit)
            except* (CutOff, ConnectionError):
                pass
            except* (anyio.EndOfStream, anyio.BrokenResourceError):
                await socket.close(1011)
            return socket.response


async def _pass_in(socket: Socket, connection: Connection) -> None:
    async for message in socket.response:
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            data = message.data.encode() if isinstance(message.data, str) else bytes(message.data)
            if len(data) > _MAX_INPUT:
                await socket.close(1009)
                return
            await connection.send(DATA, data)


async def _pass_out(connection: Connection, socket: Socket) -> int:
    while (got := await connection.receive())[0] == DATA:
        await socket.send(got[1])
    result = read_result(got[1])
    code = result.get("exitCode") if is_fields(result) else None
    return code if isinstance(code, int) else 1


async def _end(socket: Socket, code: int, *, tells_exit: bool) -> None:
    ended: Fields = {"exitCode": code}
    if code:
        ended["exitReason"] = "non-zero exit"
    if tells_exit:
        await socket.send(json.dumps({"type": "control", "status": "exited", **ended}))
    await socket.close(1011 if code else 1000, json.dumps(ended))


def _protocols(request: web.Request) -> list[str]:
    return [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each.strip()]
