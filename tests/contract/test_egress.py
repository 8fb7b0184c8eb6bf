"""The proxy that a sandbox's traffic goes through: what it passes on, and what it refuses."""

from __future__ import annotations

import socket
from dataclasses import replace

import anyio
import pytest
from anyio.abc import SocketStream

from tests.contract.network import (
    ORIGIN,
    OTHER,
    REACHABLE,
    WAIT_S,
    Names,
    Origin,
    connected,
    echo,
    free_port,
    open_tunnel,
    proxying,
    receive_until,
    rest_of,
    serving,
    talk,
)
from vaporform_mcp.sandboxes.local.addresses import IPAddress
from vaporform_mcp.sandboxes.local.egress import EgressProxy
from vaporform_mcp.sandboxes.local.policy import Refusal, parse


async def test_a_request_is_passed_on_with_its_own_headers_and_the_host_of_its_url() -> None:
    origin = Origin()
    async with serving(origin) as port, proxying(names=Names({"example.test": [[ORIGIN]]})) as proxy:
        answer = await talk(
            proxy,
            f"GET http://Example.test.:{port}/a%20b?q=1 HTTP/1.1\r\nHost: liar.test\r\nAccept: */*\r\n"
            "Proxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n"
            "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-End: é\r\n\r\n".encode("latin-1"),
        )
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    assert origin.seen == [
        f"GET /a%20b?q=1 HTTP/1.1\r\nHost: example.test:{port}\r\nAccept: */*\r\nX-End: é\r\n"
        "Connection: close\r\n\r\n".encode("latin-1")
    ]


@pytest.mark.parametrize(
    ("method", "url_path", "sent"),
    [("GET", "", "GET / "), ("GET", "?a", "GET /?a "), ("OPTIONS", "", "OPTIONS * "), ("DELETE", "/x", "DELETE /x ")],
)
async def test_every_form_of_a_path_reaches_the_server(method: str, url_path: str, sent: str) -> None:
    origin = Origin()
    async with serving(origin) as port, proxying() as proxy:
        await talk(proxy, f"{method} http://{ORIGIN}:{port}{url_path} HTTP/1.1\r\n\r\n".encode())
    assert origin.heads[0][0] == f"{sent}HTTP/1.1"


async def test_a_body_with_a_length_is_passed_on_whole() -> None:
    origin, body = Origin(), bytes(range(256)) * 20_000
    head = f"POST http://{ORIGIN}:%d/ HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    async with serving(origin) as port, proxying() as proxy:
        assert (await talk(proxy, (head % port).encode() + body)).endswith(b"hi")
    assert origin.seen[0].partition(b"\r\n\r\n")[2] == body
    assert f"Content-Length: {len(body)}" in origin.heads[0]


async def test_a_chunked_body_is_passed_on_chunked() -> None:
    origin = Origin()
    async with serving(origin) as port, proxying() as proxy:
        await talk(
            proxy,
            f"PUT http://{ORIGIN}:{port}/ HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
            "5;ext=1\r\nhello\r\n00006\r\n world\r\n0\r\nTrailer: x\r\n\r\n".encode(),
        )
    head, _, body = origin.seen[0].partition(b"\r\n\r\n")
    assert head.endswith(b"\r\nTransfer-Encoding: chunked\r\nConnection: close")
    assert body == b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


async def test_a_chunked_answer_is_chunked_for_a_client_that_knows_it_and_plain_for_one_that_does_not() -> None:
    origin = Origin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    async with serving(origin) as port, proxying() as proxy:
        new = await talk(proxy, f"GET http://{ORIGIN}:{port}/ HTTP/1.1\r\n\r\n".encode())
        old = await talk(proxy, f"GET http://{ORIGIN}:{port}/ HTTP/1.0\r\n\r\n".encode())
    assert new.endswith(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert old.endswith(b"OK\r\nConnection: close\r\n\r\nabcde")


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n"),
    ],
)
async def test_an_answer_that_has_no_body_ends_with_its_head(method: str, answer: str) -> None:
    async def keeps_open(stream: SocketStream) -> None:
        await receive_until(stream, b"\r\n\r\n")
        await stream.send(answer.encode())
        await rest_of(stream)

    async with serving(keeps_open) as port, proxying() as proxy:
        got = await talk(proxy, f"{method} http://{ORIGIN}:{port}/ HTTP/1.1\r\n\r\n".encode())
    assert got == answer.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode()


async def test_an_answer_without_a_length_goes_on_until_the_server_ends() -> None:
    body = b"x" * 3_000_000
    async with serving(Origin(b"HTTP/1.0 200 OK\r\n\r\n" + body)) as port, proxying() as proxy:
        got = await talk(proxy, f"GET http://{ORIGIN}:{port}/ HTTP/1.1\r\n\r\n".encode())
    assert got == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body


async def test_a_client_that_waits_to_be_told_to_continue_is_told_so_by_the_server() -> None:
    async def patient(stream: SocketStream) -> None:
        await receive_until(stream, b"\r\n\r\n")
        await stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await receive_until(stream, b"body")
        await stream.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    async with serving(patient) as port, proxying() as proxy, connected(proxy) as client:
        await client.send(
            f"PUT http://{ORIGIN}:{port}/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n".encode()
        )
        assert await receive_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"body")
        assert (await rest_of(client)).startswith(b"HTTP/1.1 201 Created\r\n")


async def test_an_answer_that_comes_before_the_body_was_read_reaches_the_client() -> None:
    async def too_large(stream: SocketStream) -> None:
        await receive_until(stream, b"\r\n\r\n")
        await stream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    async with serving(too_large) as port, proxying() as proxy, connected(proxy) as client:
        await client.send(f"PUT http://{ORIGIN}:{port}/ HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n".encode())
        assert (await rest_of(client)).startswith(b"HTTP/1.1 413 Too Large\r\n")


async def test_a_tunnel_carries_bytes_both_ways_and_the_end_of_each() -> None:
    data = bytes(range(256)) * 8_000
    async with serving(echo) as port, proxying() as proxy, connected(proxy) as client:
        assert (await open_tunnel(client, f"{ORIGIN}:{port}")).startswith(b"HTTP/1.1 200 ")

        async def send() -> None:
            await client.send(data)
            await client.send_eof()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            assert await rest_of(client) == data


async def test_what_is_sent_right_behind_a_connect_belongs_to_the_tunnel() -> None:
    async with serving(echo) as port, proxying() as proxy, connected(proxy) as client:
        await client.send(f"CONNECT {ORIGIN}:{port} HTTP/1.1\r\n\r\nearly".encode())
        await client.send_eof()
        assert (await rest_of(client)).endswith(b"\r\n\r\nearly")


async def test_a_websocket_goes_through_a_plain_request() -> None:
    requests: list[bytes] = []

    async def socket_server(stream: SocketStream) -> None:
        requests.append(await receive_until(stream, b"\r\n\r\n"))
        await stream.send(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: 1\r\n\r\nfirst")
        await echo(stream)

    async with serving(socket_server) as port, proxying() as proxy, connected(proxy) as client:
        await client.send(
            f"GET http://{ORIGIN}:{port}/ws HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n".encode()
        )
        answer = await receive_until(client, b"first")
        await client.send(b"ping")
        await client.send_eof()
        assert await rest_of(client) == b"ping"
    assert answer == b"HTTP/1.1 101 Switching\r\nX: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst"
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in requests[0]


async def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to() -> None:
    names, origin = Names({"example.test": [[OTHER], ["10.0.0.1"]]}), Origin()
    refusals: list[Refusal] = []
    async with serving(origin, OTHER) as port, proxying(names=names, refusals=refusals) as proxy:
        request = f"GET http://example.test:{port}/ HTTP/1.1\r\n\r\n".encode()
        assert (await talk(proxy, request)).startswith(b"HTTP/1.1 200 ")
        assert names.asked == ["example.test"]
        # The same name, rebound to a private address, is refused by the new answer.
        assert (await talk(proxy, request)).startswith(b"HTTP/1.1 403 ")
    assert len(origin.seen) == 1
    assert [each.host for each in refusals] == ["example.test"]


async def test_of_a_names_addresses_only_those_permitted_are_connected_to() -> None:
    private = Origin()
    names = Names({"mixed.test": [["127.0.0.3", "10.0.0.1", OTHER]]})
    # Both on the same port, so that a connection to the address that comes first would succeed.
    async with (
        serving(Origin(), OTHER) as port,
        serving(private, "127.0.0.3", port),
        proxying(names=names) as proxy,
    ):
        answer = await talk(proxy, f"GET http://mixed.test:{port}/ HTTP/1.1\r\n\r\n".encode())
    assert answer.endswith(b"hi")
    assert private.seen == []


async def test_an_address_that_does_not_answer_is_followed_by_the_next() -> None:
    names = Names({"half.test": [[OTHER, "::1", ORIGIN]]})
    policy = parse([], [OTHER, "::1", ORIGIN])
    async with serving(Origin()) as port, proxying(policy, names=names) as proxy:
        answer = await talk(proxy, f"GET http://half.test:{port}/ HTTP/1.1\r\n\r\n".encode())
    assert answer.endswith(b"hi")


@pytest.mark.parametrize(
    "target",
    [
        *("127.0.0.3:22", "localhost:22", "app.localhost:22", "[::1]:22", "[::ffff:7f00:1]:22", "0.0.0.0:22"),
        *("169.254.169.254:80", "10.0.0.1:443", "192.168.1.1:80", "[fd00:ec2::254]:80", "[fe80::1]:80", "[::]:80"),
        *("[64:ff9b::a00:1]:80", "[2002:7f00:1::]:80", "224.0.0.1:80", "255.255.255.255:80", "private.test:80"),
    ],
)
async def test_a_refusal_tells_host_reason_and_setting_wherever_a_client_may_look(target: str) -> None:
    async with proxying(parse([], []), names=Names({"private.test": [["172.16.0.1"]]})) as proxy:
        tunnel = await talk(proxy, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        plain = await talk(proxy, f"GET http://{target}/ HTTP/1.1\r\n\r\n".encode())
    assert tunnel == plain
    head, _, body = tunnel.decode().partition("\r\n\r\n")
    text = body.rstrip("\n")
    assert head.startswith(f"HTTP/1.1 403 {text}\r\nX-Vaporform-Reason: {text}\r\n")
    assert text.startswith(f"vaporform does not let the sandbox connect to {target}: it")
    assert "VAPORFORM_LOCAL__EGRESS_PRIVATE" in text


async def test_a_number_that_a_resolver_takes_for_an_address_is_judged_as_that() -> None:
    with socket.create_server((ORIGIN, 0)) as listener:
        proxy = EgressProxy(parse([], []), upstream=None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(proxy.serve, listener)
            for number in ("127.1", "0x7f000001", "2130706433", "0177.0.0.1"):
                answer = await talk(listener.getsockname()[1], f"CONNECT {number}:22 HTTP/1.1\r\n\r\n".encode())
                assert answer.startswith(b"HTTP/1.1 403 ")
            tasks.cancel_scope.cancel()


async def test_this_computers_own_address_is_refused_at_the_moment_that_it_is_one() -> None:
    own: set[str] = set()

    def is_own(address: IPAddress) -> bool:
        return str(address) in own

    policy = replace(parse([], []), is_own=is_own)
    names = Names({"public.test": [["203.0.113.9"]]})
    async with proxying(policy, names=names) as proxy:
        own.add("203.0.113.9")
        assert b"of the computer that runs the server" in await talk(proxy, b"CONNECT public.test:443 HTTP/1.1\r\n\r\n")


async def test_a_domain_that_is_not_allowed_is_not_even_looked_up() -> None:
    names = Names({})
    async with proxying(parse(["packages.example.org"], []), names=names) as proxy:
        answer = await talk(proxy, b"CONNECT secret-data.evil.test:443 HTTP/1.1\r\n\r\n")
    assert b"VAPORFORM_LOCAL__EGRESS_ALLOW" in answer
    assert names.asked == []


async def test_an_allowed_domain_is_reached() -> None:
    policy = parse(["example.test"], [ORIGIN])
    async with serving(Origin()) as port, proxying(policy, names=Names({"example.test": [[ORIGIN]]})) as proxy:
        answer = await talk(proxy, f"GET http://example.test:{port}/ HTTP/1.1\r\n\r\n".encode())
    assert answer.endswith(b"hi")


async def test_a_name_without_an_address_is_said_to_be_unknown() -> None:
    async with proxying() as proxy:
        answer = await talk(proxy, b"CONNECT typo.test:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 The name typo.test could not be resolved")


async def test_a_host_that_does_not_listen_is_said_to_refuse() -> None:
    port = free_port()
    async with proxying() as proxy:
        answer = await talk(proxy, f"CONNECT {ORIGIN}:{port} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 502 {ORIGIN}:{port} could not be reached: connection refused.\r\n".encode())


@pytest.mark.parametrize(
    ("request_line", "status", "said"),
    [
        ("GET / HTTP/1.1", 400, "HTTP proxy"),
        ("GET https://example.test/ HTTP/1.1", 501, "CONNECT"),
        ("GET ftp://example.test/ HTTP/1.1", 501, "CONNECT"),
        ("CONNECT example.test HTTP/1.1", 400, "port"),
        ("CONNECT :443 HTTP/1.1", 400, "host"),
        ("GET http://:80/ HTTP/1.1", 400, "host"),
    ],
)
async def test_a_request_of_another_kind_is_told_what_to_send(request_line: str, status: int, said: str) -> None:
    async with proxying() as proxy:
        answer = (await talk(proxy, f"{request_line}\r\nHost: x\r\n\r\n".encode())).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert said in answer


async def test_two_servers_share_a_listener_and_one_goes_on_when_the_other_ends() -> None:
    async with serving(Origin()) as port, anyio.create_task_group() as tasks:
        request = f"GET http://{ORIGIN}:{port}/ HTTP/1.1\r\n\r\n".encode()
        one = anyio.CancelScope()

        async def serve(listener: socket.socket, scope: anyio.CancelScope) -> None:
            with scope:
                await EgressProxy(REACHABLE, upstream=None).serve(listener)

        with socket.create_server((ORIGIN, 0)) as listener, listener.dup() as copy:
            where = listener.getsockname()[1]
            tasks.start_soon(serve, listener, one)
            tasks.start_soon(serve, copy, anyio.CancelScope())
            assert [(await talk(where, request))[-2:] for _ in range(20)] == [b"hi"] * 20
            one.cancel()
            assert [(await talk(where, request))[-2:] for _ in range(20)] == [b"hi"] * 20
            tasks.cancel_scope.cancel()


async def test_when_the_proxy_ends_its_connections_are_reset() -> None:
    async with serving(echo) as port:
        async with proxying() as proxy:
            client = await anyio.connect_tcp(ORIGIN, proxy)
            await open_tunnel(client, f"{ORIGIN}:{port}")
        async with client:
            with anyio.fail_after(WAIT_S), pytest.raises(anyio.BrokenResourceError):
                await client.receive()
