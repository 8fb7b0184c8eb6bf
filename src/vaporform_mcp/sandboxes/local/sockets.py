"""Non-blocking sockets under anyio: receive, send, connect and close, none of which can wait for ever.

anyio's own streams copy every byte twice more and hold back what they have read; a relay of raw sockets takes half of
their time and no memory while it is idle.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import anyio
from anyio.lowlevel import checkpoint

from vaporform_mcp.sandboxes.local.addresses import IPAddress

__all__ = [
    "CHUNK_BYTES",
    "Activity",
    "close_gently",
    "closing",
    "connect",
    "connect_first",
    "prepare",
    "reset_on_close",
]

CHUNK_BYTES = 128 * 1024
"""What is read at once; a connection holds at most this much in each direction."""

_MAX_ATTEMPTS = 8
_STAGGER_S = 0.25  # RFC 8305, "Connection Attempt Delay"
_DRAIN_S = 1.0
_DRAIN_BYTES = 1024 * 1024
# As many bytes at once could be moved without a wait, during which nothing else in the process would run.
_YIELD_BYTES = 1024 * 1024


class Activity:
    """Reads and writes of one connection's sockets. They fail once nothing has moved for `limit_s` seconds.

    One direction may rest as long as the other moves.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._moved_at = time.monotonic()
        self._unyielded = 0

    async def receive(self, sock: socket.socket, size: int = CHUNK_BYTES) -> bytes:
        """At least one byte, or b"" at the end.

        Raises:
            TimeoutError: nothing moved for too long.
            OSError: the connection broke.
        """
        while True:
            try:
                data = sock.recv(size)
            except BlockingIOError:
                await self._wait(sock, to_write=False)
            else:
                await self._moved(len(data))
                return data

    async def send(self, sock: socket.socket, data: bytes) -> None:
        """All of it. Raises as `receive` does."""
        left = memoryview(data)
        while left:
            try:
                sent = sock.send(left)
            except BlockingIOError:
                await self._wait(sock, to_write=True)
            else:
                left = left[sent:]
                await self._moved(sent)

    async def _moved(self, count: int) -> None:
        self._moved_at = time.monotonic()
        self._unyielded += count
        if self._unyielded >= _YIELD_BYTES:
            self._unyielded = 0
            await checkpoint()

    async def _wait(self, sock: socket.socket, *, to_write: bool) -> None:
        self._unyielded = 0
        while (left_s := self._moved_at + self._limit_s - time.monotonic()) > 0:
            with anyio.move_on_after(left_s):
                await (anyio.wait_writable(sock) if to_write else anyio.wait_readable(sock))
                return
        raise TimeoutError("nothing moved for too long")


def prepare(sock: socket.socket) -> socket.socket:
    """Make a connected socket ready for `Activity`."""
    sock.setblocking(False)
    with suppress(OSError):  # not TCP
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


@contextmanager
def closing(sock: socket.socket) -> Generator[socket.socket]:
    """Lend the socket, then close it; after an error or a cancellation so that the far end sees no clean end."""
    try:
        yield sock
    except BaseException:
        reset_on_close(sock)
        raise
    finally:
        sock.close()


def reset_on_close(sock: socket.socket) -> None:
    """Have the far end see a reset at the close, so that it cannot take what it got for the whole."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def close_gently(sock: socket.socket) -> None:
    """End the connection so that the far end gets all that was sent, for at most a second.

    Closing over unread bytes would reset it, and with that destroy an answer on its way.
    """
    activity = Activity(_DRAIN_S)
    with suppress(OSError), anyio.move_on_after(_DRAIN_S):
        sock.shutdown(socket.SHUT_WR)
        drained = 0
        while drained < _DRAIN_BYTES and (data := await activity.receive(sock)):
            drained += len(data)
    sock.close()


async def connect(address: IPAddress, port: int) -> socket.socket:
    """A connection to this very address. Raises `OSError`; the caller bounds the time."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        prepare(sock)
        with suppress(BlockingIOError):
            sock.connect((str(address), port))
        await anyio.wait_writable(sock)
        _check(sock)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_first(addresses: Sequence[IPAddress], port: int) -> socket.socket:
    """A connection to whichever of the addresses answers first, tried in order, each a little after the one before.

    Raises:
        OSError: none could be reached; it is the first one's error. The caller bounds the time.
    """
    won: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(address: IPAddress, failed: anyio.Event) -> None:
        try:
            sock = await connect(address, port)
        except OSError as error:
            errors.append(error)
            failed.set()
            return
        if won:
            sock.close()
            return
        won.append(sock)
        group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for address in _alternating(addresses)[:_MAX_ATTEMPTS]:
                failed = anyio.Event()
                group.start_soon(attempt, address, failed)
                with anyio.move_on_after(_STAGGER_S):
                    await failed.wait()
    except BaseException:
        for sock in won:
            sock.close()
        raise
    if not won:
        raise errors[0] if errors else OSError(errno.EADDRNOTAVAIL, "no address to connect to")
    return won[0]


def _check(sock: socket.socket) -> None:
    """Raise what a connection that was begun has failed with."""
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


def _alternating(addresses: Sequence[IPAddress]) -> list[IPAddress]:
    """The resolver's order, but the two families by turns, so that one that is broken costs one attempt."""
    first = [each for each in addresses if each.version == addresses[0].version]
    other = [each for each in addresses if each.version != addresses[0].version]
    mixed: list[IPAddress] = []
    for index in range(max(len(first), len(other))):
        mixed += first[index : index + 1] + other[index : index + 1]
    return mixed
