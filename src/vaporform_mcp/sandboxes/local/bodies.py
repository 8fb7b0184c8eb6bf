"""HTTP messages off a socket: heads within a bound, bodies passed on exactly to their end and never beyond it."""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from vaporform_mcp.sandboxes.local.messages import Framing, Rejected
from vaporform_mcp.sandboxes.local.sockets import CHUNK_BYTES, Activity

__all__ = ["Incoming", "SinkBroken", "copy_body"]

_MAX_HEAD_BYTES = 64 * 1024
_MAX_LINE_BYTES = 4096
_MAX_TRAILERS = 64
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;[\t -~\x80-\xff]*)?")


class SinkBroken(ConnectionError):
    """The side that a body is passed on to takes no more of it; what comes from there may still be read."""


class Incoming:
    """What arrives on a socket; what has arrived beyond the part asked for is kept for the next."""

    def __init__(self, sock: socket.socket, activity: Activity) -> None:
        self._sock = sock
        self._activity = activity
        self._kept = b""

    async def head(self, status: HTTPStatus) -> bytes:
        """A message's head without the empty line after it; b"" where the connection ended before its first byte.

        Raises:
            Rejected: with `status` if the connection ended within the head; the head is over 64 KiB.
            OSError: the connection broke, or nothing moved for too long.
        """
        kept = bytearray()
        while True:
            data = await self.some(_MAX_HEAD_BYTES)
            if not data and kept:
                raise Rejected(status, "The connection ended within the head.")
            if not data:
                return b""
            searched = max(len(kept) - 3, 0)
            kept += data
            if kept.startswith((b"\r", b"\n")):
                kept = kept.lstrip(b"\r\n")  # empty lines before a message are to be passed over (RFC 9112, 2.2)
                searched = 0
            if (end := kept.find(b"\r\n\r\n", searched)) >= 0:
                self._kept = bytes(kept[end + 4 :]) + self._kept
                return bytes(kept[:end])
            if len(kept) > _MAX_HEAD_BYTES:
                raise Rejected(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head is over 64 KiB.")

    async def some(self, size: int = CHUNK_BYTES) -> bytes:
        """Up to `size` bytes as they come; b"" at the end of the connection."""
        if self._kept:
            data, self._kept = self._kept[:size], self._kept[size:]
            return data
        return await self._activity.receive(self._sock, size)

    def rest(self) -> bytes:
        """What has arrived but was not asked for."""
        data, self._kept = self._kept, b""
        return data

    async def line(self) -> bytes:
        """A line without its CRLF. Raises `ConnectionError` where there is none."""
        kept = b""
        while (end := kept.find(b"\n")) < 0:
            if len(kept) > _MAX_LINE_BYTES:
                raise ConnectionError("a line of a chunked body is too long")
            kept += await self.within(_MAX_LINE_BYTES)
        if kept[end - 1 : end] != b"\r":
            raise ConnectionError("a line of a chunked body does not end with CRLF")
        self._kept = kept[end + 1 :] + self._kept
        return kept[: end - 1]

    async def within(self, size: int) -> bytes:
        """As `some`, within a body. Raises `ConnectionError` at the end of the connection."""
        data = await self.some(min(size, CHUNK_BYTES))
        if not data:
            raise ConnectionError("the connection ended within a body")
        return data


async def copy_body(
    source: Incoming, sink: socket.socket, activity: Activity, framing: Framing, *, rechunk: bool = True
) -> None:
    """Pass one body on, exactly. A chunked one is taken apart and, with `rechunk`, put into chunks anew.

    Raises:
        SinkBroken: the side that it is passed on to.
        OSError: the body is malformed or ended early, or nothing moved for too long. What was passed on is not the
            whole.
    """

    async def send(data: bytes) -> None:
        try:
            await activity.send(sink, data)
        except TimeoutError:
            raise
        except OSError as error:
            raise SinkBroken(*error.args) from error

    if framing == "until-close":
        while data := await source.some():
            await send(data)
    elif framing == "chunked":
        await _copy_chunks(source, send, rechunk=rechunk)
    else:
        left = framing
        while left:
            data = await source.within(left)
            await send(data)
            left -= len(data)


async def _copy_chunks(source: Incoming, send: Callable[[bytes], Awaitable[None]], *, rechunk: bool) -> None:
    while left := await _chunk_size(source):
        while left:
            data = await source.within(left)
            left -= len(data)
            await send(b"%x\r\n%b\r\n" % (len(data), data) if rechunk else data)
        if await source.line():
            raise ConnectionError("a chunk is longer than it says")
    for _ in range(_MAX_TRAILERS):
        if not await source.line():
            break
    else:
        raise ConnectionError("a chunked body has too many trailers")
    if rechunk:
        await send(b"0\r\n\r\n")


async def _chunk_size(source: Incoming) -> int:
    line = _CHUNK_LINE.fullmatch(await source.line())
    if line is None:
        raise ConnectionError("a chunk has no length")
    return int(line.group(1), 16)
