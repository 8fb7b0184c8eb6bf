"""Bytes both ways between two sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from vaporform_mcp.sandboxes.local.relay import relay
from vaporform_mcp.sandboxes.local.sockets import Activity, prepare

WAIT_S = 20.0


@asynccontextmanager
async def relayed(*, idle_s: float = WAIT_S) -> AsyncGenerator[tuple[socket.socket, socket.socket]]:
    """The two far ends of a relay; its own ends are closed when it is done, as its callers do."""
    with ExitStack() as opened, socket.create_server(("127.0.0.1", 0)) as listener:

        def pair() -> tuple[socket.socket, socket.socket]:
            far = opened.enter_context(socket.create_connection(listener.getsockname()))
            near = opened.enter_context(listener.accept()[0])
            return prepare(far), prepare(near)

        (left, near_left), (right, near_right) = pair(), pair()

        async def run() -> None:
            with near_left, near_right:
                await relay(near_left, near_right, idle_s=idle_s)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            with anyio.fail_after(WAIT_S):
                yield left, right
            tasks.cancel_scope.cancel()


async def read_all(sock: socket.socket) -> bytes:
    activity, data = Activity(WAIT_S), bytearray()
    while more := await activity.receive(sock):
        data += more
    return bytes(data)


async def test_bytes_arrive_whole_in_both_directions_at_once() -> None:
    there, back = bytes(range(256)) * 40_000, bytes(reversed(range(256))) * 30_000
    got: dict[str, bytes] = {}

    async def send(sock: socket.socket, data: bytes) -> None:
        await Activity(WAIT_S).send(sock, data)
        sock.shutdown(socket.SHUT_WR)

    async def receive(sock: socket.socket, name: str) -> None:
        got[name] = await read_all(sock)

    async with relayed() as (left, right), anyio.create_task_group() as tasks:
        tasks.start_soon(send, left, there)
        tasks.start_soon(send, right, back)
        tasks.start_soon(receive, left, "back")
        tasks.start_soon(receive, right, "there")
    assert (got["there"], got["back"]) == (there, back)


async def test_after_one_direction_has_ended_the_other_goes_on() -> None:
    async with relayed() as (left, right):
        left.shutdown(socket.SHUT_WR)
        assert await read_all(right) == b""
        await Activity(WAIT_S).send(right, b"still here")
        right.shutdown(socket.SHUT_WR)
        assert await read_all(left) == b"still here"


async def test_a_reset_of_one_side_resets_the_other() -> None:
    async with relayed() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left.close()
        with pytest.raises(ConnectionResetError):
            await read_all(right)


async def test_a_relay_in_which_nothing_moves_ends() -> None:
    async with relayed(idle_s=0.1) as (left, right):
        for sock in (left, right):
            with pytest.raises(ConnectionResetError):
                await read_all(sock)


async def test_other_work_gets_its_turn_while_a_relay_is_busy() -> None:
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async def send(sock: socket.socket) -> None:
        await Activity(WAIT_S).send(sock, bytes(30_000_000))
        sock.shutdown(socket.SHUT_WR)

    async with relayed() as (left, right), anyio.create_task_group() as tasks:
        tasks.start_soon(other_work)
        tasks.start_soon(send, left)
        assert len(await read_all(right)) == 30_000_000
        tasks.cancel_scope.cancel()
    assert turns > 20
