"""What a hand reads of its supervisor, one frame after the other."""

from __future__ import annotations

import json

from .wire import HEADER

__all__ = ["Failed", "exactly", "receive"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

CHUNK_BYTES = 1024 * 1024


class Failed(Exception):
    """No supervisor can be had, and why."""


def receive(connection: socket.socket) -> tuple[dict[str, object], bytes]:
    json_size, data_size = HEADER.unpack(exactly(connection, HEADER.size))
    return json.loads(exactly(connection, json_size)), exactly(connection, data_size)


def exactly(connection: socket.socket, size: int) -> bytes:
    """Raises `EOFError`."""
    received = bytearray()
    while len(received) < size:
        more = connection.recv(min(size - len(received), CHUNK_BYTES))
        if not more:
            raise EOFError("the supervisor has ended")
        received += more
    return bytes(received)
