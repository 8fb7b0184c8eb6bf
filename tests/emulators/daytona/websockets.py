"""WebSockets as the service ends them: with a code of its own, or without a word where a fault says so."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from tests.emulators.daytona.faults import Fault

__all__ = ["CutOff", "Socket"]

_NO_HANDSHAKE = 1006
_HEARTBEAT_S = 20.0


class CutOff(Exception):
    """The fault of this connection has happened; nothing more goes out."""


class Socket:
    """One accepted connection. Only frames that go out count for its fault."""

    def __init__(self, request: web.Request, protocols: Iterable[str] = ()) -> None:
        self.response = web.WebSocketResponse(protocols=tuple(protocols), heartbeat=_HEARTBEAT_S, max_msg_size=0)
        self._request = request
        fault: object = request.get("fault")
        self._fault = fault if isinstance(fault, Fault) else None
        self._frames = 0

    async def open(self) -> None:
        await self.response.prepare(self._request)
        await self._perhaps_fail()

    async def send(self, data: bytes | str) -> None:
        if isinstance(data, str):
            await self.response.send_str(data)
        else:
            await self.response.send_bytes(data)
        self._frames += 1
        await self._perhaps_fail()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.response.close(code=code, message=reason.encode())

    async def _perhaps_fail(self) -> None:
        if self._fault is None or self._frames < self._fault.after_frames:
            return
        code = self._fault.close_code or _NO_HANDSHAKE
        if code != _NO_HANDSHAKE:
            await self.close(code, "keepalive ping timeout" if code == 1011 else "")
        elif self._request.transport is not None:
            self._request.transport.abort()
        raise CutOff
