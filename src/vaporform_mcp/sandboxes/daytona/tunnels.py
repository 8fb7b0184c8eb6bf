"""A connection to a port of a Daytona sandbox, as a stream over requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
from anyio.abc import ByteStream

from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.daytona.hand import OtherStart
from vaporform_mcp.sandboxes.supervised.asking import Reply
from vaporform_mcp.sandboxes.supervised.fields import JsonValue

__all__ = ["Tunnel"]

WAIT_S = 20.0
CLOSE_S = 5.0
PART_BYTES = 256 * 1024

Ask = Callable[[str, Mapping[str, JsonValue], bytes], Awaitable[Reply]]


class Tunnel(ByteStream):
    """Good for a request and its answer; what is sent goes with the next question, so that both cost one request."""

    def __init__(self, ask: Ask, number: int) -> None:
        self._ask = ask
        self._number = number
        self._unsent = bytearray()
        self._received = bytearray()
        self._sent_eof = False
        self._ended = False
        self._closed = False

    async def send(self, item: bytes) -> None:
        self._check()
        self._unsent += item
        if len(self._unsent) > PART_BYTES:
            await self._exchange(0.0)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        self._check()
        while not self._received:
            if self._ended:
                raise anyio.EndOfStream
            await self._exchange(WAIT_S)
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        return data

    async def send_eof(self) -> None:
        self._check()
        self._sent_eof = True
        await self._exchange(0.0)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        with anyio.move_on_after(CLOSE_S, shield=True):
            try:
                if not self._ended:
                    await self._ask("hang_up", {"tunnel": self._number}, b"")
            except (VaporformError, OtherStart):
                return  # it is closed there when nobody asks for it

    def _check(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError

    async def _exchange(self, wait_s: float) -> None:
        data = bytes(self._unsent)
        self._unsent.clear()
        fields: dict[str, JsonValue] = {"tunnel": self._number, "wait_s": wait_s, "eof": self._sent_eof}
        try:
            reply = await self._ask("exchange", fields, data)
        except (VaporformError, OtherStart) as error:
            raise anyio.BrokenResourceError from error
        self._received += reply.data
        self._ended = reply.fields.flag("end")
