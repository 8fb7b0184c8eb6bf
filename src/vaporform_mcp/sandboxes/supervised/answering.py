"""What a port of a sandbox answers first, over whatever stream reaches it."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio
from anyio.abc import ByteStream

from vaporform_mcp.errors import SandboxUnavailable

__all__ = ["first_line_of"]

MAX_BYTES = 4096


async def first_line_of(connecting: Awaitable[ByteStream], request: bytes, *, within_s: float) -> bytes:
    """See `Sandbox.first_line`."""
    head = b""
    with anyio.move_on_after(within_s):
        try:
            async with await connecting as stream:
                await stream.send(request)
                while b"\n" not in head and len(head) < MAX_BYTES:
                    head += await stream.receive(MAX_BYTES)
        except (SandboxUnavailable, anyio.EndOfStream, anyio.BrokenResourceError):
            return head
    return head
