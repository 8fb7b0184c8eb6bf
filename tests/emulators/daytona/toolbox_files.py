"""The toolbox's routes for files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web

from tests.emulators.daytona.machine.wire import (
    DATA,
    END,
    Fields,
    Refusal,
    is_fields,
    is_list,
    read_result,
)
from tests.emulators.daytona.machines import Connection
from tests.emulators.daytona.requests import Cutter, Streamed
from tests.emulators.daytona.toolbox import Toolbox, result_of
from tests.emulators.daytona.uploads import Upload

__all__ = ["Files"]

_BOUNDARY = "DAYTONA-FILE-BOUNDARY"


class Files:
    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.get(f"{prefix}/files", self.list_files),
            web.delete(f"{prefix}/files", self.delete_file),
            web.get(f"{prefix}/files/info", self.get_file_info),
            web.get(f"{prefix}/files/search", self.search_files),
            web.get(f"{prefix}/files/find", self.find_in_files),
            web.get(f"{prefix}/files/download", self.download_file),
            web.post(f"{prefix}/files/folder", self.create_folder),
            web.post(f"{prefix}/files/move", self.move_file),
            web.post(f"{prefix}/files/permissions", self.set_permissions),
            web.post(f"{prefix}/files/replace", self.replace_in_files),
            web.post(f"{prefix}/files/bulk-upload", self.upload_files),
            web.post(f"{prefix}/files/bulk-download", self.download_files),
        ]

    async def _silent(self, request: web.Request, operation: str, fields: Mapping[str, object]) -> object:
        """Of these operations the daemon gives the status of a failure and no word about it."""
        machine = self._toolbox.machine(request)
        del machine  # what the proxy refuses it explains
        try:
            return await self._toolbox.ask(request, operation, fields)
        except Refusal as error:
            raise Refusal(error.status) from error

    async def list_files(self, request: web.Request) -> web.Response:
        depth = request.query.get("depth", "")
        fields: Fields = {"path": request.query.get("path") or "."}
        if depth.isdigit() and self._toolbox.daemon.hosted:
            fields["depth"] = int(depth)
        return web.json_response(await self._silent(request, "files.list", fields))

    async def get_file_info(self, request: web.Request) -> web.Response:
        return web.json_response(await self._silent(request, "files.info", dict(request.query)))

    async def delete_file(self, request: web.Request) -> web.Response:
        fields: Fields = {"path": request.query.get("path"), "recursive": request.query.get("recursive") == "true"}
        await self._silent(request, "files.delete", fields)
        return web.Response(status=204)

    async def set_permissions(self, request: web.Request) -> web.Response:
        await self._silent(request, "files.permissions", dict(request.query))
        return web.Response()

    async def search_files(self, request: web.Request) -> web.Response:
        return web.json_response(await self._toolbox.ask(request, "files.search", dict(request.query)))

    async def find_in_files(self, request: web.Request) -> web.Response:
        return web.json_response(await self._toolbox.ask(request, "files.find", dict(request.query)))

    async def create_folder(self, request: web.Request) -> web.Response:
        await self._toolbox.ask(request, "files.folder", dict(request.query))
        return web.Response(status=201)

    async def move_file(self, request: web.Request) -> web.Response:
        await self._toolbox.ask(request, "files.move", dict(request.query))
        return web.Response()

    async def replace_in_files(self, request: web.Request) -> web.Response:
        fields: Fields = json.loads(await request.read())
        return web.json_response(await self._toolbox.ask(request, "files.replace", fields))

    async def upload_files(self, request: web.Request) -> web.Response:
        """Each file as it comes; those that can be written are, also where others cannot."""
        upload, cutter = Upload(request.headers.get("Content-Type", "")), Cutter(request)
        async with self._toolbox.connect(request, "files.upload") as connection:
            async for chunk in request.content.iter_any():
                if frames := upload.feed(chunk):
                    await connection.stream.send(frames)
                cutter.passed(len(chunk))
            await connection.send(END)
            result = await result_of(connection)
        assert is_fields(result)
        failed = bool(result.get("errors"))
        return web.json_response(result, status=400 if failed else 200)

    async def download_file(self, request: web.Request) -> web.StreamResponse:
        fields: Fields = {"paths": [request.query.get("path")]}
        async with self._toolbox.connect(request, "files.download", fields) as connection:
            _, payload = await connection.receive()
            head: Fields = json.loads(payload)
            if "status" in head:
                read_result(payload)
            response = Streamed(headers={"Content-Type": "application/octet-stream"})
            response.content_length = int(str(head["size"]))
            await response.prepare(request)
            while (got := await connection.receive())[0] == DATA:
                await response.write(got[1])
            return response

    async def download_files(self, request: web.Request) -> web.StreamResponse:
        body: Fields = json.loads(await request.read())
        paths = body.get("paths")
        if not is_list(paths) or not paths:
            raise Refusal(400, "paths are required", "BAD_REQUEST")
        async with self._toolbox.connect(request, "files.download", {"paths": paths}) as connection:
            response = Streamed(headers={"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"})
            response.cutter = Cutter(request)
            await response.prepare(request)
            await _send_parts(request, connection, response)
            await response.write(f"--{_BOUNDARY}--\r\n".encode())
            return response


async def _send_parts(request: web.Request, connection: Connection, response: web.StreamResponse) -> None:
    while True:
        _, payload = await connection.receive()
        head: Fields = json.loads(payload)
        if "part" not in head:
            return
        quoted = quote(str(head["part"]), safe="", errors="surrogateescape")
        name, kind, size = "file", "application/octet-stream", f"Content-Length: {head.get('size')}\r\n"
        error = b""
        if "status" in head:
            name, kind, size = "error", "application/json", ""
            error = json.dumps(
                {
                    "statusCode": head["status"],
                    "message": head["message"],
                    "code": head["code"],
                    "method": request.method,
                    "path": request.path,
                }
            ).encode()
        await response.write(
            f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename*=utf-8''{quoted}\r\n"
            f"Content-Type: {kind}\r\n{size}\r\n".encode()
        )
        await response.write(error)
        while (got := await connection.receive())[0] == DATA:
            await response.write(got[1])
        await response.write(b"\r\n")
