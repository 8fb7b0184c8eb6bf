"""The toolbox's routes for commands, places, ports and repositories."""

from __future__ import annotations

import json

from aiohttp import web

from tests.emulators.daytona.machine.wire import DATA, Fields, is_fields, read_result
from tests.emulators.daytona.toolbox import Toolbox

__all__ = ["Process"]


class Process:
    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.post(f"{prefix}/process/execute", self.execute),
            web.get(f"{prefix}/work-dir", self.get_work_dir),
            web.get(f"{prefix}/user-home-dir", self.get_home_dir),
            web.post(f"{prefix}/git/clone", self.clone_repository),
            web.get(f"{prefix}/port", self.list_ports),
            web.get(prefix + "/port/{port:\\d+}/in-use", self.is_port_in_use),
        ]

    async def execute(self, request: web.Request) -> web.Response:
        fields: Fields = json.loads(await request.read())
        output = bytearray()
        async with self._toolbox.connect(request, "process.execute", fields) as connection:
            while (got := await connection.receive())[0] == DATA:
                output += got[1]
            result = read_result(got[1])
        assert is_fields(result)
        return web.json_response({**result, "result": output.decode("utf-8", "replace")})

    async def get_work_dir(self, request: web.Request) -> web.Response:
        return await self._place(request, "work")

    async def get_home_dir(self, request: web.Request) -> web.Response:
        return await self._place(request, "home")

    async def _place(self, request: web.Request, which: str) -> web.Response:
        places = await self._toolbox.ask(request, "places")
        assert is_fields(places)
        return web.json_response({"dir": places[which]})

    async def clone_repository(self, request: web.Request) -> web.Response:
        fields: Fields = json.loads(await request.read())
        if not self._toolbox.daemon.hosted:
            fields.pop("depth", None)
        await self._toolbox.ask(request, "git.clone", fields)
        return web.Response()

    async def list_ports(self, request: web.Request) -> web.Response:
        return web.json_response(await self._toolbox.ask(request, "ports.list"))

    async def is_port_in_use(self, request: web.Request) -> web.Response:
        fields: Fields = {"port": int(request.match_info["port"])}
        return web.json_response(await self._toolbox.ask(request, "ports.in_use", fields))
