"""Going out through the proxy that the computer itself has to use."""

from __future__ import annotations

from base64 import b64encode

import pytest
from anyio.abc import SocketStream

from tests.contract.network import (
    ORIGIN,
    OTHER,
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
from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.local.policy import parse
from vaporform_mcp.sandboxes.local.upstream import UpstreamProxy
from vaporform_mcp.sandboxes.local.upstream import parse as parse_upstream

USER = "us%40er"
SECRET = "pa:ss"
EXPECTED = "Proxy-Authorization: Basic " + b64encode(b"us@er:pa:ss").decode()
NOTHING_PRIVATE = parse([], [])


def through(port: int, **more: str) -> UpstreamProxy:
    address = f"http://{USER}:{SECRET}@{ORIGIN}:{port}/"
    found = parse_upstream({"HTTPS_PROXY": address, "http_proxy": address, **more})
    assert found is not None
    return found


async def test_a_tunnel_is_asked_of_the_computers_proxy_by_name_with_its_credentials() -> None:
    heads: list[str] = []

    async def computers_proxy(stream: SocketStream) -> None:
        heads.append((await receive_until(stream, b"\r\n\r\n")).decode())
        await stream.send(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\nearly")
        await echo(stream)

    # The name is not known here: only the computer's proxy can resolve it.
    async with (
        serving(computers_proxy) as port,
        proxying(NOTHING_PRIVATE, upstream=through(port)) as proxy,
        connected(proxy) as client,
    ):
        await client.send(b"CONNECT far.test:443 HTTP/1.1\r\n\r\n")
        assert await receive_until(client, b"early") == b"HTTP/1.1 200 Connection established\r\n\r\nearly"
        await client.send(b"ping")
        await client.send_eof()
        assert await rest_of(client) == b"ping"
    assert heads == [f"CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n{EXPECTED}\r\n\r\n"]


async def test_a_plain_request_is_passed_to_the_computers_proxy_in_absolute_form() -> None:
    origin = Origin()
    async with serving(origin) as port, proxying(NOTHING_PRIVATE, upstream=through(port)) as proxy:
        answer = await talk(proxy, b"GET http://far.test/a?b HTTP/1.1\r\nProxy-Authorization: Basic x\r\n\r\n")
        await talk(proxy, b"OPTIONS http://far.test HTTP/1.1\r\n\r\n")
    assert answer.endswith(b"hi")
    assert origin.heads[0] == ["GET http://far.test/a?b HTTP/1.1", "Host: far.test", "Connection: close", EXPECTED]
    assert origin.heads[1][0] == "OPTIONS http://far.test HTTP/1.1"


async def test_no_connection_to_the_computers_proxy_is_handed_over_by_an_upgrade() -> None:
    origin = Origin()
    request = b"GET http://far.test/ HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with serving(origin) as port, proxying(NOTHING_PRIVATE, upstream=through(port)) as proxy:
        await talk(proxy, request)
    assert origin.heads == [["GET http://far.test/ HTTP/1.1", "Host: far.test", "Connection: close", EXPECTED]]


@pytest.mark.parametrize("target", ["10.0.0.1:443", "[::1]:443", "localhost:443", "private.test:443", "mixed.test:443"])
async def test_what_is_private_is_not_asked_of_the_computers_proxy(target: str) -> None:
    origin = Origin()
    names = Names({"private.test": [["10.0.0.1"]], "mixed.test": [["203.0.113.9", "10.0.0.1"]]})
    async with serving(origin) as port, proxying(NOTHING_PRIVATE, names=names, upstream=through(port)) as proxy:
        assert (await talk(proxy, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())).startswith(b"HTTP/1.1 403 ")
        assert (await talk(proxy, f"GET http://{target}/ HTTP/1.1\r\n\r\n".encode())).startswith(b"HTTP/1.1 403 ")
    assert origin.seen == []


async def test_a_domain_that_is_not_allowed_is_not_asked_of_the_computers_proxy() -> None:
    origin = Origin()
    async with serving(origin) as port, proxying(parse(["packages.example.org"], []), upstream=through(port)) as proxy:
        assert (await talk(proxy, b"CONNECT far.test:443 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
    assert origin.seen == []


async def test_what_no_proxy_names_is_reached_directly() -> None:
    names, direct = Names({"near.test": [[OTHER]]}), Origin()
    refused = through(free_port(), NO_PROXY="example.com, .test,10.0.0.0/8")
    async with serving(direct, OTHER) as port, proxying(parse([], [OTHER]), names=names, upstream=refused) as proxy:
        assert (await talk(proxy, f"GET http://near.test:{port}/ HTTP/1.1\r\n\r\n".encode())).endswith(b"hi")


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad"])
async def test_when_the_computers_proxy_refuses_its_status_is_told_and_no_secret(status: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n".encode()
    async with serving(Origin(answer)) as port, proxying(NOTHING_PRIVATE, upstream=through(port)) as proxy:
        got = (await talk(proxy, b"CONNECT far.test:443 HTTP/1.1\r\n\r\n")).decode()
    assert got.startswith(
        f"HTTP/1.1 502 The proxy that this computer has to use did not connect to far.test:443: it "
        f"answered {status[:3]}."
    )
    assert SECRET not in got


async def test_a_plain_request_that_the_computers_proxy_wants_credentials_for_does_not_ask_the_sandbox() -> None:
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    async with serving(Origin(answer)) as port, proxying(NOTHING_PRIVATE, upstream=through(port)) as proxy:
        got = await talk(proxy, b"GET http://far.test/ HTTP/1.1\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 502 The proxy that this computer has to use wants a user name")


async def test_a_proxy_of_the_computer_that_does_not_listen_is_said_so_without_its_address() -> None:
    port = free_port()
    async with proxying(NOTHING_PRIVATE, upstream=through(port)) as proxy:
        got = (await talk(proxy, b"CONNECT far.test:443 HTTP/1.1\r\n\r\n")).decode()
    assert got.startswith("HTTP/1.1 502 The proxy that this computer has to use could not be reached")
    assert str(port) not in got


async def test_proxies_can_be_chained() -> None:
    async with (
        serving(echo) as port,
        proxying() as last,
        proxying(parse([], [ORIGIN]), upstream=through(last)) as first,
        connected(first) as client,
    ):
        assert (await open_tunnel(client, f"{ORIGIN}:{port}")).startswith(b"HTTP/1.1 200 ")
        await client.send(b"through both")
        await client.send_eof()
        assert await rest_of(client) == b"through both"


@pytest.mark.parametrize(
    "environ", [{}, {"HTTP_PROXY": "", "https_proxy": " "}, {"HTTP_PROXY": "http://p", "NO_PROXY": "*"}]
)
def test_without_a_proxy_in_the_environment_there_is_none(environ: dict[str, str]) -> None:
    assert parse_upstream(environ) is None


def test_the_lower_case_spelling_wins_and_all_proxy_fills_in() -> None:
    found = parse_upstream({"HTTPS_PROXY": "http://upper", "https_proxy": "lower:8080", "ALL_PROXY": "http://all:1"})
    assert found is not None
    assert found.secure is not None
    assert found.plain is not None
    assert (found.secure.host, found.secure.port, found.plain.host) == ("lower", 8080, "all")


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "a.example.com", 443, True),
        ("example.com", "notexample.com", 443, False),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "a.example.com", 443, True),
        ("example.com:8080", "example.com", 443, False),
        ("example.com:8080", "example.com", 8080, True),
        ("10.0.0.0/8", "10.1.1.1", 443, True),
        ("10.0.0.1", "10.0.0.1", 443, True),
        ("10.0.0.1:80", "10.0.0.1", 443, False),
        ("[fd00::1]", "fd00::1", 443, True),
        ("[fd00::1]:80", "fd00::1", 80, True),
        ("fd00::/8", "fd00::1", 80, True),
        ("?!, example.com", "example.com", 443, True),
        ("", "localhost", 80, True),
        ("", "example.com", 80, False),
    ],
)
def test_no_proxy_is_understood_as_other_tools_do(no_proxy: str, host: str, port: int, *, direct: bool) -> None:
    found = parse_upstream({"HTTPS_PROXY": "http://proxy", "NO_PROXY": no_proxy})
    assert found is not None
    assert (found.route(host, port, secure=True) is None) is direct


@pytest.mark.parametrize(
    "value", ["socks5://u:secret@p:1", "https://u:secret@p", "http://", "http://p:secret", "http://a b"]
)
def test_a_proxy_that_cannot_be_used_is_refused_by_the_variables_name_alone(value: str) -> None:
    with pytest.raises(InvalidArgument, match="HTTPS_PROXY") as caught:
        parse_upstream({"https_proxy": value})
    assert "secret" not in str(caught.value) + caught.value.hint
    assert "http://host:port" in caught.value.hint


def test_credentials_are_not_shown_by_a_repr() -> None:
    assert "Basic" not in repr(through(1))
