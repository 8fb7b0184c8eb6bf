"""Ports of this computer that lead to ports inside sandboxes."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.background import background
from vaporform_mcp.errors import LimitReached, NotFound, VaporformError
from vaporform_mcp.sandboxes.local.accepting import serve_connections
from vaporform_mcp.sandboxes.local.claims import Claim, claim_port
from vaporform_mcp.sandboxes.local.messages import render
from vaporform_mcp.sandboxes.local.relay import relay
from vaporform_mcp.sandboxes.local.sockets import Activity, close_gently, closing, prepare

__all__ = ["Connect", "PreviewForwarder"]

log = logging.getLogger(__name__)

Connect = Callable[[], Awaitable[socket.socket]]
"""Gives a socket connected to a port inside a sandbox. Raises `NotFound` where nothing listens on it."""

_LOOPBACK = ("127.0.0.1", "::1")
_MAX_PREVIEWS = 256
_MAX_CONNECTIONS = 256
_CONNECT_S = 15.0
# A page's socket to its dev server may rest while nobody edits.
_IDLE_S = 3600.0
_HELLO_S = 2.0
_HELLO_BYTES = 16
_HTTP = re.compile(rb"[A-Z]{3,12} ")


@dataclass(slots=True, kw_only=True)
class _Preview:
    port: int
    claim: Claim
    connect: Connect
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class PreviewForwarder:
    """Forwards ports of this computer's loopback to sandboxes, byte by byte: HTTP, WebSocket or anything else on TCP.

    An async context manager, at the end of which every forwarded port is closed.

    Only this computer's users reach a preview. As with any dev server on one's own machine, a web page that the user
    visits can send requests to it, and can read the answers if the dev server does not look at the Host header (DNS
    rebinding): the bytes are passed on as they are, so that check is the dev server's.
    """

    def __init__(self) -> None:
        self._opened: dict[tuple[str, int], _Preview] = {}
        self._opening = anyio.Lock()
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(background())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._tasks = None
        return await self._stack.__aexit__(kind, error, traceback)

    async def open(self, workspace_id: str, port: int, connect: Connect, preferred: int | None) -> int:
        """The port of this computer that leads to `port` of the workspace's sandbox, from now on by `connect`.

        In this order: the one that it has already, here or in another server of the same user; `preferred`, which it
        had before; the same number; any. Only one that is free, at 127.0.0.1 and at ::1, and never below 1024.

        Raises:
            LimitReached: too many are open.
            SandboxUnavailable: no port is free.
        """
        if self._tasks is None:
            raise RuntimeError("the forwarder is not running")
        async with self._opening:
            key = (workspace_id, port)
            if (preview := self._opened.get(key)) is not None:
                # The sandbox may be another one than before.
                preview.connect = connect
                return preview.claim.port
            if len(self._opened) >= _MAX_PREVIEWS:
                raise LimitReached(
                    f"{_MAX_PREVIEWS} previews are open", hint="Serve from fewer ports, or restart the server."
                )
            claim = await claim_port(f"{workspace_id}/{port}", (preferred, port), _LOOPBACK)
            preview = _Preview(port=port, claim=claim, connect=connect)
            self._opened[key] = preview
            self._tasks.start_soon(self._serve, key, preview)
            return claim.port

    async def _serve(self, key: tuple[str, int], preview: _Preview) -> None:
        async def handle(client: socket.socket) -> None:
            await _forward(preview, client)

        async def serve(listener: socket.socket) -> None:
            try:
                await serve_connections(listener, handle, limit=_MAX_CONNECTIONS)
            except OSError as error:
                log.warning("the preview of port %d ended: %s", preview.port, error)
                preview.scope.cancel()

        try:
            with preview.scope:
                async with anyio.create_task_group() as group:
                    for listener in preview.claim.listeners:
                        group.start_soon(serve, listener)
        finally:
            preview.claim.close()
            del self._opened[key]


async def _forward(preview: _Preview, client: socket.socket) -> None:
    try:
        with anyio.fail_after(_CONNECT_S):
            inside = await preview.connect()
    except NotFound:
        await _explain(client, f"Nothing listens on port {preview.port} of the sandbox yet.")
        return
    except (OSError, VaporformError) as error:
        log.debug("a preview of port %d could not connect: %s", preview.port, error)
        await _explain(client, "The sandbox does not answer. It starts again with the next call of a tool.")
        return
    with closing(prepare(inside)):
        await relay(client, inside, idle_s=_IDLE_S)


async def _explain(client: socket.socket, text: str) -> None:
    """Answer a client that speaks HTTP with a page that loads itself again; close on any other."""
    hello = b""
    activity = Activity(_HELLO_S)
    with anyio.move_on_after(_HELLO_S):
        while len(hello) < _HELLO_BYTES and (data := await activity.receive(client)):
            hello += data
    if not _HTTP.match(hello):
        return
    page = (
        '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
        f"<title>No answer yet</title><p>{text}</p>\n"
    ).encode()
    status = HTTPStatus.BAD_GATEWAY
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(page))),
        ("Cache-Control", "no-store"),
        ("Retry-After", "2"),
        ("Connection", "close"),
    ]
    head = render(f"HTTP/1.1 {status.value} {status.phrase}", headers)
    await activity.send(client, head if hello.startswith(b"HEAD ") else head + page)
    await close_gently(client)
