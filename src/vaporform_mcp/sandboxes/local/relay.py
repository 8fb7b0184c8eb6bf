"""Bytes both ways between two connected sockets."""

from __future__ import annotations

import socket
from contextlib import suppress

import anyio

from vaporform_mcp.sandboxes.local.sockets import Activity, reset_on_close

__all__ = ["relay"]


async def relay(a: socket.socket, b: socket.socket, *, idle_s: float) -> None:
    """Pass bytes on in both directions until both have ended or nothing has moved for `idle_s` seconds.

    The end of one direction is passed on and the other goes on. Where either side breaks, or nothing moves, both will
    be reset when the caller closes them, so that neither takes what it got for the whole. Holds at most 128 KiB in
    each direction. Both sockets have been through `prepare`.
    """
    activity = Activity(idle_s)

    async def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := await activity.receive(source):
                await activity.send(sink, data)
        except OSError:
            reset_on_close(a)
            reset_on_close(b)
            group.cancel_scope.cancel()
            return
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    async with anyio.create_task_group() as group:
        group.start_soon(pump, a, b)
        group.start_soon(pump, b, a)
