"""The way out of a sandbox: a proxy for HTTP that lets through what the sandbox's network settings allow."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream, SocketStream

from tests.emulators.daytona.machines import Machine
from tests.emulators.daytona.records import Sandbox

__all__ = ["Egress"]

_MAX_HEAD = 64 * 1024
_HEAD_S = 30.0
_CONNECT_S = 20.0
_CHUNK = 1 << 16
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Egress:
    """`hosts` gives names of a test's own to addresses, as "host:port"."""

    def __init__(self) -> None:
        self.hosts: dict[str, str] = {}

    async def serve(self, sandbox: Sandbox, machine: Machine) -> None:
        """Until this machine of the sandbox ends."""

        async def serve_one(near: SocketStream) -> None:
            await self._serve_one(sandbox, near)

        try:
            listener = await anyio.create_unix_listener(machine.sockets / "egress")
        except OSError:
            return  # it has ended already
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve_one)
            await machine.ended.wait()
            tasks.cancel_scope.cancel()

    async def _serve_one(self, sandbox: Sandbox, near: SocketStream) -> None:
        async with near:
            try:
                with anyio.fail_after(_HEAD_S):
                    head, rest = await _head(near)
                await self._pass(sandbox, near, head, rest)
            except (OSError, TimeoutError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError):
                return  # whoever speaks otherwise than a client of a proxy is left alone

    async def _pass(self, sandbox: Sandbox, near: SocketStream, head: bytes, rest: bytes) -> None:
        first, _, fields = head.partition(b"\r\n")
        method, target, version = first.decode("latin-1").split(" ")
        tunnel = method == "CONNECT"
        url = urlsplit(f"//{target}" if tunnel else target)
        host, port = url.hostname or "", url.port or 80
        if not _is_allowed(sandbox, host):
            await near.send(_REFUSED)
            return
        given, _, given_port = self.hosts.get(host, "").partition(":")
        try:
            with anyio.fail_after(_CONNECT_S):
                far = await anyio.connect_tcp(given or host, int(given_port or port))
        except (OSError, TimeoutError):
            await near.send(_UNREACHABLE)
            return
        async with far:
            if tunnel:
                await near.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await far.send(rest) if rest else None
            else:
                path = (url.path or "/") + (f"?{url.query}" if url.query else "")
                kept = [each for each in fields.split(b"\r\n") if not _is_of_the_hop(each)]
                line = f"{method} {path} {version}".encode("latin-1")
                # One request for each connection, since the next could be for another host.
                await far.send(b"\r\n".join([line, *kept, b"Connection: close"]) + b"\r\n\r\n" + rest)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_pump, near, far)
                await _pump(far, near)
                tasks.cancel_scope.cancel()


def _is_of_the_hop(field: bytes) -> bool:
    return field.partition(b":")[0].strip().lower() in {b"", b"connection", b"proxy-connection", b"proxy-authorization"}


def _is_allowed(sandbox: Sandbox, host: str) -> bool:
    if sandbox.network_block_all:
        return False
    if sandbox.domain_allow_list:
        names = [each.strip().lower() for each in sandbox.domain_allow_list.split(",")]
        return any(host == each or (each.startswith("*.") and host.endswith(each[1:])) for each in names)
    if sandbox.network_allow_list:
        return _is_within(host, sandbox.network_allow_list)
    return True


def _is_within(host: str, networks: str) -> bool:
    try:
        address = ipaddress.ip_address(socket.gethostbyname(host))
    except OSError:
        return False
    return any(address in ipaddress.ip_network(each.strip(), strict=False) for each in networks.split(","))


async def _head(near: ByteStream) -> tuple[bytes, bytes]:
    got = b""
    while b"\r\n\r\n" not in got:
        if len(got) > _MAX_HEAD:
            raise ValueError
        got += await near.receive(_CHUNK)
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


async def _pump(source: ByteStream, target: ByteStream) -> None:
    with suppress(OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await target.send(await source.receive(_CHUNK))
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await target.send_eof()
