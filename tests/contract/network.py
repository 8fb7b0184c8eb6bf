"""Both ends of a sandbox's network edge, played on this computer's loopback with real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

import anyio
from anyio.abc import SocketAttribute, SocketStream

from vaporform_mcp.sandboxes.local.addresses import IPAddress
from vaporform_mcp.sandboxes.local.egress import Bounds, EgressProxy
from vaporform_mcp.sandboxes.local.policy import EgressPolicy, Refusal, parse
from vaporform_mcp.sandboxes.local.upstream import UpstreamProxy

WAIT_S = 20.0

Handler = Callable[[SocketStream], Awaitable[None]]

# Stand for hosts on the internet: every address of 127.0.0.0/8 is this computer.
ORIGIN = "127.0.0.1"
OTHER = "127.0.0.2"
REACHABLE = parse([], [ORIGIN, OTHER])


@dataclass(slots=True)
class Names:
    """A resolver. Each look-up of a name takes its next answer; the last one stays."""

    answers: Mapping[str, Sequence[Sequence[str]]]
    asked: list[str] = field(default_factory=list[str])

    async def __call__(self, host: str, port: int) -> Sequence[IPAddress]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.answers[host]
        return [ip_address(each) for each in answers[min(self.asked.count(host), len(answers)) - 1]]


@dataclass(slots=True)
class Origin:
    """A server that remembers every request's bytes, and gives each the same answer."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    seen: list[bytes] = field(default_factory=list[bytes])

    async def __call__(self, stream: SocketStream) -> None:
        request = b""
        while not _is_whole(request):
            request += await stream.receive()
        await stream.send(self.answer)
        await stream.send_eof()
        # Whatever was sent beyond the request must be seen too.
        async for more in stream:
            request += more
        self.seen.append(request)

    @property
    def heads(self) -> list[list[str]]:
        return [each.partition(b"\r\n\r\n")[0].decode().split("\r\n") for each in self.seen]


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    if b"\r\nTransfer-Encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0")
    return bool(end) and len(body) >= int(length.partition(b":")[2])


@asynccontextmanager
async def serving(handler: Handler, host: str = ORIGIN, port: int = 0) -> AsyncGenerator[int]:
    """A TCP server; the port that it listens on. At the end, connections that are ending may still be handled."""
    active = 0

    async def guarded(stream: SocketStream) -> None:
        nonlocal active
        active += 1
        try:
            async with stream:
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    await handler(stream)
        finally:
            active -= 1

    async with (
        await anyio.create_tcp_listener(local_host=host, local_port=port) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, guarded)
        yield listener.extra(SocketAttribute.local_port)  # noqa: S610  # not Django's
        with suppress(TimeoutError):
            await until(lambda: active == 0, within_s=5.0)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def proxying(
    policy: EgressPolicy = REACHABLE,
    *,
    names: Names | None = None,
    upstream: UpstreamProxy | None = None,
    refusals: list[Refusal] | None = None,
    bounds: Bounds | None = None,
) -> AsyncGenerator[int]:
    """An egress proxy; the port that it listens on."""
    proxy = EgressProxy(
        policy,
        upstream=upstream,
        resolve=names or Names({}),
        on_refusal=None if refusals is None else refusals.append,
        bounds=bounds,
    )
    with socket.create_server((ORIGIN, 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(proxy.serve, listener)
            yield listener.getsockname()[1]
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def connected(port: int, host: str = ORIGIN) -> AsyncGenerator[SocketStream]:
    with anyio.fail_after(WAIT_S):
        async with await anyio.connect_tcp(host, port) as stream:
            yield stream


async def talk(port: int, data: bytes, host: str = ORIGIN) -> bytes:
    """Send bytes; everything that comes back until the other side ends the connection."""
    async with connected(port, host) as stream:
        await stream.send(data)
        return await rest_of(stream)


async def rest_of(stream: SocketStream) -> bytes:
    return b"".join([data async for data in stream])


async def receive_until(stream: SocketStream, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += await stream.receive()
    return data


async def open_tunnel(stream: SocketStream, target: str) -> bytes:
    """CONNECT; the head of the answer."""
    await stream.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    return await receive_until(stream, b"\r\n\r\n")


async def echo(stream: SocketStream) -> None:
    """A handler that sends everything back, and the end too."""
    async for data in stream:
        await stream.send(data)
    await stream.send_eof()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((ORIGIN, 0))
        return int(sock.getsockname()[1])


async def until(condition: Callable[[], bool], *, within_s: float = WAIT_S) -> None:
    with anyio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await anyio.sleep(0.005)
