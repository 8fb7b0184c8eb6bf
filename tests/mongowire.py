"""A way to a MongoDB server that counts the commands on it, delays their answers, and does to them what a test asks.

It speaks the wire protocol: whole messages are read, a command is known by its name, and an answer is told from others
by the request that it is for. What keeps a connection (greetings, logins, pings) passes by uncounted.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup
from bson import BSON
from pymongo.uri_parser import parse_uri

from vaporform_mcp.errors import VaporformError

__all__ = ["Cut", "Hold", "Lose", "Refuse", "Rule", "Slow", "Wire", "asleep", "wire_to"]

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_KEEPING = frozenset(
    {"hello", "isMaster", "ismaster", "ping", "endSessions", "saslStart", "saslContinue", "buildInfo", "killCursors"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer with an error, as the server would, without the server hearing of it.

    One of a write's documents is refused where `is_write` is set, else the command.
    """

    code: int
    text: str = "refused by the test"
    is_write: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The connection breaks before the server has the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose:
    """The server does it; the connection breaks before its answer comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The command waits here until the test opens: its writer sleeps between the one before it and this one."""

    reached: anyio.Event = field(default_factory=anyio.Event)
    opened: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True, kw_only=True)
class Rule:
    """What is done to commands: those of that name (None: any) on that collection, after `skip` of them, so often."""

    act: Refuse | Cut | Lose | Slow | Hold
    command: str | None = None
    collection: str | None = None
    skip: int = 0
    times: int = 1_000_000

    def takes(self, command: str, collection: object) -> bool:
        if self.command not in {None, command} or self.collection not in {None, collection} or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Wire:
    """`uri` is for the client. `commands` counts what was asked, by name; `delay_s` is added to each answer."""

    def __init__(self, host: str, port: int, group: TaskGroup) -> None:
        self._server = (host, port)
        self._group = group
        self._pairs: set[tuple[SocketStream, SocketStream]] = set()
        self._scope: anyio.CancelScope | None = None
        self._port = 0
        self._thawed = anyio.Event()
        self._thawed.set()
        self.commands: Counter[str] = Counter()
        self.rules: list[Rule] = []
        self.delay_s = 0.0

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self._port}/?directConnection=true"

    @property
    def count(self) -> int:
        return self.commands.total()

    def add(self, rule: Rule) -> Rule:
        self.rules.append(rule)
        return rule

    async def start(self) -> None:
        """Listen; on the port of before, where it was stopped."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port, reuse_port=False)
        self._port = int(listener.extra(SocketAttribute.local_port))  # noqa: S610  # no Django here
        scope = self._scope = anyio.CancelScope()

        async def serve() -> None:
            with scope:
                async with listener:
                    await listener.serve(self._relay)

        self._group.start_soon(serve)

    def freeze(self) -> None:
        """Connections are taken, and nothing that comes on any is answered any more."""
        self._thawed = anyio.Event()

    def thaw(self) -> None:
        """What came meanwhile is answered."""
        self._thawed.set()

    async def stop(self) -> None:
        """Whoever connects is refused, and what is connected breaks."""
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None
        await self.drop()

    async def drop(self) -> None:
        """Every connection breaks; new ones are taken."""
        for pair in list(self._pairs):
            for stream in pair:
                await anyio.aclose_forcefully(stream)
        await anyio.lowlevel.checkpoint()

    async def _relay(self, client: SocketStream) -> None:
        async with client:
            try:
                server = await anyio.connect_tcp(*self._server)
            except OSError:
                return
            async with server:
                pair = (client, server)
                self._pairs.add(pair)
                try:
                    await self._relay_between(pair)
                finally:
                    self._pairs.discard(pair)

    async def _relay_between(self, pair: tuple[SocketStream, SocketStream]) -> None:
        lost: set[int] = set()
        delayed: set[int] = set()
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with anyio.create_task_group() as group:
                group.start_soon(self._answers, pair, lost, delayed, group.cancel_scope)
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    while (message := await _read(pair[0])) is not None:
                        if not await self._pass(message, pair, lost, delayed):
                            break
                group.cancel_scope.cancel()

    async def _pass(
        self, message: bytes, pair: tuple[SocketStream, SocketStream], lost: set[int], delayed: set[int]
    ) -> bool:
        """Hand a command on, or do to it what a rule says; answers whether the connection holds."""
        client, server = pair
        await self._thawed.wait()
        request = _HEADER.unpack_from(message)[1]
        command = _command(message)
        if command is not None and next(iter(command)) not in _KEEPING:
            name = next(iter(command))
            self.commands[name] += 1
            delayed.add(request)
            rule = next((rule for rule in self.rules if rule.takes(name, command[name])), None)
            match rule.act if rule is not None else None:
                case Refuse() as refusal:
                    await client.send(_refusal(request, refusal))
                    return True
                case Cut():
                    return False
                case Lose():
                    lost.add(request)
                case Slow(seconds=seconds):
                    await anyio.sleep(seconds)
                case Hold(reached=reached, opened=opened):
                    reached.set()
                    await opened.wait()
                case None:
                    pass
        await server.send(message)
        return True

    async def _answers(
        self,
        pair: tuple[SocketStream, SocketStream],
        lost: set[int],
        delayed: set[int],
        scope: anyio.CancelScope,
    ) -> None:
        client, server = pair
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            while (message := await _read(server)) is not None:
                answered = _HEADER.unpack_from(message)[2]
                if answered in lost:
                    break
                if answered in delayed:
                    delayed.discard(answered)
                    if self.delay_s:
                        await anyio.sleep(self.delay_s)
                await client.send(message)
        scope.cancel()


@asynccontextmanager
async def wire_to(uri: str) -> AsyncGenerator[Wire]:
    """A way to the server of that URI, which is one without a login or TLS."""
    host, port = parse_uri(uri)["nodelist"][0]
    async with anyio.create_task_group() as group:
        wire = Wire(host, port or 27017, group)
        await wire.start()
        try:
            yield wire
        finally:
            await wire.stop()
            group.cancel_scope.cancel()


async def asleep(
    wire: Wire, rule: Rule, work: Callable[[], Awaitable[object]], meanwhile: Callable[[], Awaitable[object]]
) -> VaporformError | None:
    """Do `work` up to the command that the rule holds, then `meanwhile`, then the rest; answers with how work failed.

    Work that ends before that command is followed by `meanwhile`.
    """
    hold = rule.act
    assert isinstance(hold, Hold)
    wire.add(rule)
    failure: VaporformError | None = None

    async def run() -> None:
        nonlocal failure
        try:
            await work()
        except VaporformError as error:
            failure = error
        finally:
            hold.reached.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await hold.reached.wait()
        await meanwhile()
        hold.opened.set()
    wire.rules.clear()
    return failure


async def _read(stream: SocketStream) -> bytes | None:
    """A whole message; None at the end."""
    data = bytearray()
    wanted = _HEADER.size
    while len(data) < wanted:
        try:
            data += await stream.receive(wanted - len(data))
        except anyio.EndOfStream:
            return None
        if len(data) == _HEADER.size:
            wanted = _HEADER.unpack_from(data)[0]
    return bytes(data)


def _command(message: bytes) -> dict[str, Any] | None:
    if _HEADER.unpack_from(message)[3] != _OP_MSG:
        return None
    size = struct.unpack_from("<i", message, 21)[0]
    return BSON(message[21 : 21 + size]).decode() if message[20] == 0 else None


def _refusal(request: int, refusal: Refuse) -> bytes:
    told: dict[str, Any] = {"ok": 0.0, "errmsg": refusal.text, "code": refusal.code}
    if refusal.is_write:
        told = {"ok": 1.0, "n": 0, "writeErrors": [{"index": 0, "code": refusal.code, "errmsg": refusal.text}]}
    body = bytes(4) + b"\0" + BSON.encode(told)
    return _HEADER.pack(_HEADER.size + len(body), 1, request, _OP_MSG) + body
