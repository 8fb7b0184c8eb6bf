"""Requests made to be understood differently by the proxy and by the server behind it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.network import ORIGIN, Origin, proxying, serving, talk
from vaporform_mcp.sandboxes.local.messages import Rejected, parse_request, parse_response

BODY = "\r\n\r\n0\r\n\r\nGET http://10.0.0.1/ HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: \u0665",
        "Content-Length: 9999999999999999999",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "X: 1\r\n Transfer-Encoding: chunked",
        "X: 1\r\n\tTransfer-Encoding: chunked",
        "X: 1\nTransfer-Encoding: chunked",
        "X: 1\rTransfer-Encoding: chunked",
        "X: 1\0",
        "X\0: 1",
        "X Y: 1",
        ": 1",
        "X",
        "Host: a\r\nHost: b",
        "\r\n".join(f"X: {number}" for number in range(600)),
    ],
)
async def test_a_request_that_has_two_meanings_is_refused_before_anything_is_passed_on(fields: str) -> None:
    origin = Origin()
    async with serving(origin) as port, proxying() as proxy:
        answer = await talk(proxy, f"POST http://{ORIGIN}:{port}/ HTTP/1.1\r\n{fields}{BODY}".encode())
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert origin.seen == []


@pytest.mark.parametrize(
    "line",
    [
        *("GET  http://{} HTTP/1.1", "GET http://{} HTTP/2.0", "GET http://{} HTTP/1.10", "GET http://{}", "http://{}"),
        *("GET http://{}/a b HTTP/1.1", "GET\thttp://{} HTTP/1.1", "GET http://{} HTTP/1.1 ", "G@T http://{} HTTP/1.1"),
        *("GET http://user:password@{}/ HTTP/1.1", "GET http://10.0.0.1\\@{}/ HTTP/1.1", "GET http:{} HTTP/1.1"),
        *("GET http:///{} HTTP/1.1", "GET http://{}#fragment HTTP/1.1", "GET http://{}/\x00 HTTP/1.1"),
        *("GET http://{}:1:2/ HTTP/1.1", "GET http://::1/{} HTTP/1.1", "GET http://a%00.test/{} HTTP/1.1"),
        *("CONNECT {}/ HTTP/1.1", "CONNECT http://{} HTTP/1.1", "CONNECT a@{} HTTP/1.1", "CONNECT ::1:80{} HTTP/1.1"),
    ],
)
async def test_a_request_line_that_is_malformed_is_refused(line: str) -> None:
    origin = Origin()
    async with serving(origin) as port, proxying() as proxy:
        answer = await talk(proxy, line.replace("{}", f"{ORIGIN}:{port}").encode() + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert origin.seen == []


@pytest.mark.parametrize("host", ["[::1%25lo]", "[::1%lo]", f"[fe80::1%{'a' * 5000}]", "ä" * 20_000])
async def test_a_host_with_a_zone_or_beyond_any_length_is_refused_and_not_repeated(host: str) -> None:
    async with proxying() as proxy:
        answer = await talk(proxy, f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert len(answer) < 1000


async def test_nothing_that_is_added_on_the_way_comes_back_by_trace() -> None:
    origin = Origin()
    async with serving(origin) as port, proxying() as proxy:
        answer = await talk(proxy, f"TRACE http://{ORIGIN}:{port}/ HTTP/1.1\r\nMax-Forwards: 0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert origin.seen == []


async def test_a_request_in_http_1_0_cannot_be_chunked() -> None:
    async with serving(Origin()) as port, proxying() as proxy:
        head = f"POST http://{ORIGIN}:{port}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        assert (await talk(proxy, head.encode())).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("fields", "body"),
    [("", ""), ("Content-Length: 3\r\n", "abc"), ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n")],
)
async def test_a_second_request_on_a_connection_never_leaves(fields: str, body: str) -> None:
    origin = Origin()
    second = f"GET http://{ORIGIN}/second HTTP/1.1\r\n\r\n"
    async with serving(origin) as port, proxying() as proxy:
        answer = await talk(
            proxy, f"POST http://{ORIGIN}:{port}/ HTTP/1.1\r\n{fields}\r\n{body}{second}{second}".encode()
        )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(origin.seen) == 1
    assert origin.seen[0].endswith(b"\r\n\r\n" + body.encode())


@pytest.mark.parametrize(
    "body",
    [
        "x\r\n",
        "-1\r\n",
        "0x3\r\nabc\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\nabc\n",
        "ffffffffffffffff\r\n",
        "3 3\r\nabc\r\n",
    ],
)
async def test_chunks_that_are_malformed_do_not_become_a_whole_body(body: str) -> None:
    origin = Origin()
    async with serving(origin) as port, proxying() as proxy:
        answer = await talk(
            proxy, f"POST http://{ORIGIN}:{port}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}".encode()
        )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert origin.seen == []


async def test_an_upgrade_to_anything_but_a_websocket_is_not_passed_on() -> None:
    origin = Origin()
    async with serving(origin) as port, proxying() as proxy:
        await talk(
            proxy,
            f"GET http://{ORIGIN}:{port}/ HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            "HTTP2-Settings: AAMAAABkAAQ\r\n\r\n".encode(),
        )
    assert origin.heads[0][2:] == ["Connection: close"]


async def test_a_server_that_changes_the_protocol_unasked_is_not_listened_to() -> None:
    async with serving(Origin(b"HTTP/1.1 101 Switching\r\n\r\n")) as port, proxying() as proxy:
        answer = await talk(proxy, f"GET http://{ORIGIN}:{port}/ HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 502 ")


async def test_a_header_cannot_take_away_the_framing_by_naming_it_as_hop_by_hop() -> None:
    origin = Origin()
    async with serving(origin) as port, proxying() as proxy:
        await talk(
            proxy,
            f"POST http://{ORIGIN}:{port}/ HTTP/1.1\r\nConnection: content-length, host\r\n"
            "Content-Length: 3\r\n\r\nabc".encode(),
        )
    assert origin.heads[0][1:] == [f"Host: {ORIGIN}:{port}", "Content-Length: 3", "Connection: close"]


@given(st.one_of(st.binary(max_size=200), st.text(" \t\r\n:,/@[]GETHOSTP1.0", max_size=80).map(str.encode)))
def test_any_head_is_either_understood_or_rejected(head: bytes) -> None:
    with suppress(Rejected):
        request = parse_request(head)
        (request.tunnel if request.method == "CONNECT" else request.absolute)()
    with suppress(Rejected):
        parse_response(head, method="GET")
