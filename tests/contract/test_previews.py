"""Ports of this computer that lead into sandboxes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest
from anyio.abc import SocketStream

from tests.contract.network import ORIGIN, Origin, connected, echo, free_port, rest_of, serving, talk, until
from vaporform_mcp.errors import NotFound, SandboxLost
from vaporform_mcp.sandboxes.local.previews import Connect, PreviewForwarder

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HAS_IPV6 = has_ipv6()


def to(port: int) -> Connect:
    """Stands for a sandbox: its port is a port of this computer."""

    async def connect() -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            with suppress(BlockingIOError):
                sock.connect((ORIGIN, port))
            await anyio.wait_writable(sock)
        except BaseException:
            sock.close()
            raise
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            raise NotFound(f"nothing listens on port {port}")
        return sock

    return connect


async def lost() -> socket.socket:
    raise SandboxLost("the sandbox is gone")


def to_lost(_port: int) -> Connect:
    return lost


async def refuses(port: int) -> bool:
    try:
        async with await anyio.connect_tcp(ORIGIN, port):
            return False
    except OSError:
        return True


async def test_a_preview_has_the_same_number_and_passes_requests_on_as_they_are() -> None:
    origin, wanted = Origin(), free_port()
    async with serving(origin) as inside, PreviewForwarder() as previews:
        port = await previews.open("w1", wanted, to(inside), None)
        assert port == wanted
        assert await talk(port, GET) == origin.answer
        await until(lambda: origin.seen == [GET])


@pytest.mark.skipif(not HAS_IPV6, reason="this computer has no IPv6")
async def test_a_preview_is_reached_by_either_address_of_localhost() -> None:
    async with serving(Origin()) as inside, PreviewForwarder() as previews:
        port = await previews.open("w1", free_port(), to(inside), None)
        assert (await talk(port, GET, "::1")).endswith(b"hi")


async def test_anything_on_tcp_goes_through_with_each_direction_ending_by_itself() -> None:
    data = b"\x81\x05frame" * 100_000
    async with serving(echo) as inside, PreviewForwarder() as previews:
        port = await previews.open("w1", free_port(), to(inside), None)
        async with connected(port) as client, anyio.create_task_group() as tasks:

            async def send() -> None:
                await client.send(data)
                await client.send_eof()

            tasks.start_soon(send)
            assert await rest_of(client) == data


async def test_a_server_that_speaks_first_is_heard() -> None:
    async def greets(stream: SocketStream) -> None:
        await stream.send(b"220 ready")

    async with serving(greets) as inside, PreviewForwarder() as previews:
        port = await previews.open("w1", free_port(), to(inside), None)
        async with connected(port) as client:
            assert await rest_of(client) == b"220 ready"


@pytest.mark.parametrize("host", [ORIGIN, "0.0.0.0", *(["::1", "::"] if HAS_IPV6 else [])])  # noqa: S104  # the point
async def test_a_number_that_another_program_listens_on_is_not_taken(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as other:
        taken = int(other.getsockname()[1])
        async with serving(Origin()) as inside, PreviewForwarder() as previews:
            port = await previews.open("w1", taken, to(inside), taken)
            assert port != taken
            assert (await talk(port, GET)).endswith(b"hi")


async def test_a_number_that_another_program_of_the_user_shares_is_not_taken_either() -> None:
    with socket.create_server((ORIGIN, 0), reuse_port=True) as other:
        taken = int(other.getsockname()[1])
        async with PreviewForwarder() as previews:
            assert await previews.open("w1", taken, lost, taken) != taken


async def test_the_port_that_a_preview_had_before_comes_before_the_same_number() -> None:
    before, same = free_port(), free_port()
    async with PreviewForwarder() as previews:
        assert await previews.open("w1", same, lost, before) == before
        # Of another workspace; its own number is free.
        assert await previews.open("w2", same, lost, before) == same


async def test_a_privileged_number_is_never_used() -> None:
    async with PreviewForwarder() as previews:
        assert await previews.open("w1", 80, lost, 443) >= 1024


@pytest.mark.parametrize("port", [3306, 5432, 6379, 6000])
async def test_the_number_of_a_known_service_is_never_used(port: int) -> None:
    async with PreviewForwarder() as previews:
        assert await previews.open("w1", port, lost, None) != port


async def test_asked_again_it_is_the_same_port_and_leads_to_the_sandbox_of_now() -> None:
    old, new = Origin(b"HTTP/1.1 200 OK\r\n\r\nold"), Origin(b"HTTP/1.1 200 OK\r\n\r\nnew")
    async with serving(old) as before, serving(new) as after, PreviewForwarder() as previews:
        wanted = free_port()
        port = await previews.open("w1", wanted, to(before), None)
        assert (await talk(port, GET)).endswith(b"old")
        assert await previews.open("w1", wanted, to(after), free_port()) == port
        assert (await talk(port, GET)).endswith(b"new")


@pytest.mark.parametrize(
    ("connect", "said"),
    [(to, b"Nothing listens on port %d of the sandbox yet."), (to_lost, b"The sandbox does not answer.")],
    ids=["nothing-listens", "sandbox-lost"],
)
async def test_a_browser_is_told_why_there_is_no_page_yet(connect: Callable[[int], Connect], said: bytes) -> None:
    inside = free_port()
    async with PreviewForwarder() as previews:
        port = await previews.open("w1", inside, connect(free_port()), None)
        answer = await talk(port, GET)
        head = await talk(port, GET.replace(b"GET", b"HEAD"))
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert (said % inside if b"%d" in said else said) in answer
    assert head == answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


async def test_a_client_that_speaks_no_http_is_disconnected_when_nothing_listens() -> None:
    async with PreviewForwarder() as previews:
        port = await previews.open("w1", free_port(), to(free_port()), None)
        assert await talk(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello") == b""


async def test_what_begins_to_listen_later_is_reached() -> None:
    inside = free_port()
    async with PreviewForwarder() as previews:
        port = await previews.open("w1", free_port(), to(inside), None)
        assert b" 502 " in await talk(port, GET)
        async with serving(Origin(), port=inside):
            assert (await talk(port, GET)).endswith(b"hi")


async def test_servers_of_one_workspace_share_a_preview_and_either_may_end() -> None:
    async with serving(Origin()) as inside, PreviewForwarder() as second:
        wanted = free_port()
        async with PreviewForwarder() as first:
            port = await first.open("w1", wanted, to(inside), None)
            # Found by itself, without being told which port the other has.
            assert await second.open("w1", wanted, to(inside), None) == port
            assert [(await talk(port, GET))[-2:] for _ in range(20)] == [b"hi"] * 20
        assert [(await talk(port, GET))[-2:] for _ in range(20)] == [b"hi"] * 20


async def test_a_port_moved_because_its_number_was_taken_is_shared_too() -> None:
    with socket.create_server((ORIGIN, 0)) as other:
        taken = int(other.getsockname()[1])
        async with PreviewForwarder() as first, PreviewForwarder() as second:
            port = await first.open("w1", taken, lost, None)
            assert await second.open("w1", taken, lost, None) == port


async def test_workspaces_never_share_a_port_even_where_each_had_it_before() -> None:
    async with PreviewForwarder() as first, PreviewForwarder() as second:
        wanted = free_port()
        port = await first.open("w1", wanted, lost, None)
        assert await second.open("w2", wanted, lost, port) != port
        assert await second.open("w1", wanted + 1, lost, port) != port


async def test_two_that_choose_at_the_same_time_do_not_choose_the_same_port() -> None:
    wanted, chosen = free_port(), list[int]()

    async def choose(previews: PreviewForwarder, workspace: str) -> None:
        chosen.append(await previews.open(workspace, wanted, lost, None))

    async with PreviewForwarder() as first, PreviewForwarder() as second, anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(choose, first if number % 2 else second, f"w{number}")
    assert len(set(chosen)) == 6


async def test_at_the_end_every_port_is_closed() -> None:
    async with PreviewForwarder() as previews:
        port = await previews.open("w1", free_port(), lost, None)
    assert await refuses(port)


async def test_asked_before_it_runs_it_says_so() -> None:
    with pytest.raises(RuntimeError):
        await PreviewForwarder().open("w1", free_port(), lost, None)
