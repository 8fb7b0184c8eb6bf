"""Clients and servers of the egress proxy that are slow, greedy or gone."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from contextlib import AsyncExitStack

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from tests.contract.network import (
    ORIGIN,
    REACHABLE,
    WAIT_S,
    Origin,
    connected,
    echo,
    open_tunnel,
    proxying,
    receive_until,
    rest_of,
    serving,
    talk,
    until,
)
from vaporform_mcp.sandboxes.local.addresses import IPAddress
from vaporform_mcp.sandboxes.local.egress import Bounds, EgressProxy

GET = f"GET http://{ORIGIN}:%d/ HTTP/1.1\r\n\r\n"


def reset_when_closed(stream: SocketStream) -> None:
    stream.extra(SocketAttribute.raw_socket).setsockopt(  # noqa: S610  # not Django's
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


async def received(stream: SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive()
    return data


async def is_served(proxy: int) -> bool:
    async with serving(Origin()) as port:
        return (await talk(proxy, (GET % port).encode())).endswith(b"hi")


@pytest.mark.parametrize("begun", ["", "GET http://", "GET http://a.test/ HTTP/1.1\r\nX: 1\r\n"])
async def test_a_head_that_does_not_come_is_given_up(begun: str) -> None:
    async with proxying(bounds=Bounds(head_s=0.2)) as proxy, connected(proxy) as client:
        if begun:
            await client.send(begun.encode())
        assert (await rest_of(client)).startswith(b"HTTP/1.1 408 ")


async def test_a_head_that_is_dripped_does_not_gain_time_by_it() -> None:
    async def drip(client: SocketStream) -> None:
        while True:
            await client.send(b"X")
            await anyio.sleep(0.02)

    async with (
        proxying(bounds=Bounds(head_s=0.3)) as proxy,
        connected(proxy) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(drip, client)
        assert (await client.receive()).startswith(b"HTTP/1.1 408 ")
        tasks.cancel_scope.cancel()


async def test_a_head_that_is_too_large_is_refused() -> None:
    async with proxying() as proxy:
        answer = await talk(proxy, b"GET http://a.test/ HTTP/1.1\r\nX: " + b"x" * 66_000)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert await is_served(proxy)


async def test_a_client_that_ends_within_the_head_is_answered_and_one_that_says_nothing_is_not() -> None:
    async with proxying() as proxy:
        for said, begins in ((b"GET http://a.test/", b"HTTP/1.1 400 "), (b"", b""), (b"\r\n\r\n", b"")):
            async with connected(proxy) as client:
                if said:
                    await client.send(said)
                await client.send_eof()
                answer = await rest_of(client)
            assert answer.startswith(begins)
            assert bool(answer) == bool(begins)


async def test_empty_lines_before_a_request_are_passed_over() -> None:
    async with serving(Origin()) as port, proxying() as proxy:
        assert (await talk(proxy, ("\r\n\r\n" + GET % port).encode())).endswith(b"hi")


async def test_a_client_that_is_gone_within_its_body_leaves_the_server_no_whole_request() -> None:
    ends: list[str] = []

    async def reads_on(stream: SocketStream) -> None:
        try:
            await rest_of(stream)
            ends.append("clean")
        except anyio.BrokenResourceError:
            ends.append("reset")

    async with serving(reads_on) as port, proxying() as proxy:
        async with connected(proxy) as client:
            await client.send(f"PUT http://{ORIGIN}:{port}/ HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf".encode())
        await until(lambda: bool(ends))
        assert await is_served(proxy)
    assert ends == ["reset"]


async def test_a_client_that_is_gone_within_the_answer_ends_the_servers_side_too() -> None:
    ended = anyio.Event()

    async def endless(stream: SocketStream) -> None:
        await receive_until(stream, b"\r\n\r\n")
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                await stream.send(b"x" * 65_536)
        finally:
            ended.set()

    async with serving(endless) as port, proxying() as proxy:
        async with connected(proxy) as client:
            await client.send((GET % port).encode())
            await client.receive()
            reset_when_closed(client)
        with anyio.fail_after(WAIT_S):
            await ended.wait()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n"])
async def test_a_server_that_gives_no_proper_answer_is_said_so(answer: bytes) -> None:
    async def bad(stream: SocketStream) -> None:
        await receive_until(stream, b"\r\n\r\n")
        if answer:
            await stream.send(answer)

    async with serving(bad) as port, proxying() as proxy:
        assert (await talk(proxy, (GET % port).encode())).startswith(b"HTTP/1.1 502 ")


async def test_a_server_that_answers_too_late_is_given_up() -> None:
    async def silent(stream: SocketStream) -> None:
        await rest_of(stream)

    async with serving(silent) as port, proxying(bounds=Bounds(idle_s=0.2)) as proxy:
        assert (await talk(proxy, (GET % port).encode())).startswith(b"HTTP/1.1 504 ")


@pytest.mark.parametrize(
    ("head", "clean"),
    [("Content-Length: 9", True), ("Transfer-Encoding: chunked", True), ("X: until the end", False)],
)
async def test_an_answer_that_is_cut_off_never_looks_whole(head: str, *, clean: bool) -> None:
    async def cuts_off(stream: SocketStream) -> None:
        await receive_until(stream, b"\r\n\r\n")
        await stream.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        await stream.send(b"4\r\nhalf\r\n" if "chunked" in head else b"half")
        await receive_until(stream, b"go")
        if not clean:
            reset_when_closed(stream)

    async with serving(cuts_off) as port, proxying() as proxy, connected(proxy) as client:
        await client.send(f"POST http://{ORIGIN}:{port}/ HTTP/1.1\r\nContent-Length: 2\r\n\r\n".encode())
        await receive_until(client, b"half\r\n" if "chunked" in head else b"half")
        await client.send(b"go")
        with pytest.raises(anyio.BrokenResourceError):
            await rest_of(client)


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_tunnel_whose_one_side_breaks_is_reset_on_the_other(side: str) -> None:
    broke: list[str] = []

    async def server(stream: SocketStream) -> None:
        await stream.receive()
        if side == "server":
            reset_when_closed(stream)
            return
        try:
            await rest_of(stream)
        except anyio.BrokenResourceError:
            broke.append("server")

    async with serving(server) as port, proxying() as proxy:
        async with connected(proxy) as client:
            await open_tunnel(client, f"{ORIGIN}:{port}")
            await client.send(b"x")
            if side == "client":
                reset_when_closed(client)
            else:
                with pytest.raises(anyio.BrokenResourceError):
                    await rest_of(client)
                broke.append("client")
        await until(lambda: bool(broke))


async def test_a_tunnel_in_which_nothing_moves_is_ended_and_one_with_a_single_busy_direction_is_not() -> None:
    async def talkative(stream: SocketStream) -> None:
        await stream.receive()
        for _ in range(20):
            await stream.send(b"x")
            await anyio.sleep(0.1)
        await rest_of(stream)

    async with serving(talkative) as port, proxying(bounds=Bounds(idle_s=1.5)) as proxy, connected(proxy) as client:
        await open_tunnel(client, f"{ORIGIN}:{port}")
        await client.send(b"go")
        assert await received(client, 20) == b"x" * 20
        with pytest.raises(anyio.BrokenResourceError):
            await client.receive()


async def test_a_reader_that_stops_makes_the_writer_wait_and_costs_no_memory() -> None:
    sent = 0

    async def floods(stream: SocketStream) -> None:
        nonlocal sent
        await stream.receive()
        while sent < 200_000_000:
            await stream.send(b"x" * 65_536)
            sent += 65_536

    async with serving(floods) as port, proxying() as proxy, connected(proxy) as client:
        await open_tunnel(client, f"{ORIGIN}:{port}")
        await client.send(b"go")
        before = -1
        # The kernel's and anyio's buffers fill up, then nothing moves any more.
        while sent != before:
            before = sent
            await anyio.sleep(0.3)
    assert sent < 100_000_000


async def test_connections_over_the_limit_are_told_so_and_served_when_others_have_ended() -> None:
    bounds = Bounds(connections=2)
    async with serving(echo) as port, proxying(bounds=bounds) as proxy:
        async with AsyncExitStack() as opened:
            for _ in range(2):
                client = await opened.enter_async_context(connected(proxy))
                assert (await open_tunnel(client, f"{ORIGIN}:{port}")).startswith(b"HTTP/1.1 200 ")
            assert (await talk(proxy, f"CONNECT {ORIGIN}:{port} HTTP/1.1\r\n\r\n".encode())).startswith(
                b"HTTP/1.1 503 Too many connections"
            )
        with anyio.fail_after(WAIT_S):
            while not await is_served(proxy):  # noqa: ASYNC110  # the proxy tells nobody when it has room
                await anyio.sleep(0.01)


async def test_a_connection_that_meets_a_bug_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(host: str, port: int) -> Sequence[IPAddress]:
        raise RuntimeError(host)

    with socket.create_server((ORIGIN, 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(EgressProxy(REACHABLE, upstream=None, resolve=broken).serve, listener)
            proxy = listener.getsockname()[1]
            async with connected(proxy) as client:
                await client.send(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n")
                with pytest.raises(anyio.BrokenResourceError):
                    await rest_of(client)
            assert await is_served(proxy)
            tasks.cancel_scope.cancel()
    assert "could not be served" in caplog.text
