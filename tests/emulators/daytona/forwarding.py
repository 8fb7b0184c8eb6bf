"""HTTP and WebSocket passed on to a port inside a sandbox, as they come and without a copy of the whole."""

from __future__ import annotations

from collections.abc import Collection

import aiohttp
import anyio
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.emulators.daytona.machine.wire import Refusal, is_fields
from tests.emulators.daytona.machines import Machine
from tests.emulators.daytona.requests import Streamed
from tests.emulators.daytona.toolbox import result_of
from tests.emulators.daytona.websockets import CutOff, Socket

__all__ = ["forward"]

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CHUNK = 1 << 16


async def forward(
    request: web.Request, machine: Machine, port: int, target: URL, *, hidden: Collection[str]
) -> web.StreamResponse:
    """Ask the server at this port for `target` in the words of the request, without the headers named `hidden`."""
    async with machine.connect("ports.relay", {"port": port}) as connection:
        relay = await result_of(connection)
    assert is_fields(relay)
    connector = aiohttp.UnixConnector(path=str(machine.sockets / str(relay["socket"])), force_close=True)
    dropped = _HOP_BY_HOP | {name.lower() for name in hidden}
    headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in dropped)
    headers["X-Forwarded-Host"] = request.host
    headers["X-Forwarded-Proto"] = "http"
    url = URL("http://sandbox").join(target)
    try:
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await _forward_socket(request, session, url, headers)
            return await _forward_request(request, session, url, headers)
    except aiohttp.ClientConnectionError as error:
        raise Refusal(502, f"bad gateway: dial tcp 127.0.0.1:{port}: connect: connection refused") from error


async def _forward_request(
    request: web.Request, session: aiohttp.ClientSession, url: URL, headers: CIMultiDict[str]
) -> web.StreamResponse:
    body = request.content if request.body_exists else None
    skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
    async with session.request(
        request.method,
        url,
        headers=headers,
        data=body,
        allow_redirects=False,
        skip_auto_headers=skipped,
        timeout=aiohttp.ClientTimeout(),
    ) as answer:
        response = Streamed(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                response.headers.add(name, value)
        await response.prepare(request)
        async for chunk in answer.content.iter_chunked(_CHUNK):
            await response.write(chunk)
        await response.write_eof()
        return response


async def _forward_socket(
    request: web.Request, session: aiohttp.ClientSession, url: URL, headers: CIMultiDict[str]
) -> web.StreamResponse:
    protocols = [each.strip() for each in headers.get("Sec-WebSocket-Protocol", "").split(",") if each.strip()]
    for name in [each for each in headers if each.lower().startswith("sec-websocket-")]:
        headers.popall(name, None)
    async with session.ws_connect(url, headers=headers, protocols=protocols, max_msg_size=0) as far:
        near = Socket(request, [far.protocol] if far.protocol else [])
        try:
            await near.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_pass_in, near, far)
                await _pass_out(far, near)
                tasks.cancel_scope.cancel()
        except* CutOff:
            pass
        return near.response


async def _pass_in(near: Socket, far: aiohttp.ClientWebSocketResponse) -> None:
    async for message in near.response:
        if message.type == aiohttp.WSMsgType.TEXT:
            await far.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await far.send_bytes(message.data)
    await far.close(code=near.response.close_code or 1000)


async def _pass_out(far: aiohttp.ClientWebSocketResponse, near: Socket) -> None:
    async for message in far:
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            await near.send(message.data)
    await near.close(far.close_code or 1000)
