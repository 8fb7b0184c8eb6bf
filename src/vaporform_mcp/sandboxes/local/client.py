"""One server's connection to one supervisor: requests out, replies, events and sockets in."""

from __future__ import annotations

import array
import itertools
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskStatus

from vaporform_mcp.errors import InvalidArgument, SandboxLost, SandboxUnavailable, VaporformError
from vaporform_mcp.sandboxes.local.layout import Folder, socket_address
from vaporform_mcp.sandboxes.supervised.asking import LostMeanwhile, OnEvent, Reply
from vaporform_mcp.sandboxes.supervised.fields import Fields, JsonValue, Malformed, parse_fault
from vaporform_mcp.sandboxes.supervised.frames import Frame, Inbox, head_of

__all__ = ["Absent", "Connection", "Hello", "Hung", "SocketReply", "connect"]

log = logging.getLogger(__name__)

GREETING_S = 5.0
"""How long a supervisor may take to greet: it does so before it looks at anything else."""

WRITE_S = 20.0
PING_EVERY_S = 30.0
PING_S = 15.0
CANCEL_S = 5.0

_READ_BYTES = 256 * 1024
_MAX_STRAY_DESCRIPTORS = 8
_DESCRIPTOR_SPACE = socket.CMSG_SPACE(_MAX_STRAY_DESCRIPTORS * array.array("i").itemsize)
_CREDENTIALS = struct.Struct("iII")
_INTERNET = {socket.AF_INET, socket.AF_INET6}

_ENDED = "the sandbox has ended, and with it what it ran"
_AGAIN = "Repeat the call: the sandbox is started again, with its files."


class Absent(Exception):
    """Nothing answers at the socket: there is no sandbox, or it ended while we called."""


class Hung(Exception):
    """Something holds the socket but does not greet as a supervisor does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a supervisor says of itself, and `pid`, its process on this host as the kernel says; 0 where unknown."""

    protocol: int
    workspace_id: str
    epoch: int
    config: str
    attached: int
    pid: int


@dataclass(frozen=True, slots=True)
class SocketReply(Reply):
    sockets: list[socket.socket]


@dataclass(slots=True, eq=False)
class _Pending:
    """A request without its reply; frames wait here for the task that asked."""

    wants_socket: bool
    wake: anyio.Event = field(default_factory=anyio.Event)
    frames: deque[tuple[Frame, list[socket.socket]]] = field(default_factory=deque[tuple[Frame, list[socket.socket]]])
    failure: VaporformError | None = None

    def fail(self, error: VaporformError) -> None:
        self.failure = self.failure or error
        self.wake.set()

    def put(self, frame: Frame, sockets: list[socket.socket]) -> None:
        self.frames.append((frame, sockets))
        self.wake.set()

    def close(self) -> None:
        for _, sockets in self.frames:
            for one in sockets:
                one.close()
        self.frames.clear()


class Connection:
    """Requests may be made by many tasks at once. `serve` must run as long as any of them waits."""

    def __init__(self, sock: socket.socket, hello: Hello, inbox: Inbox) -> None:
        self.hello = hello
        self._socket = sock
        self._inbox = inbox
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._descriptors: deque[int] = deque()
        self._writing = anyio.Lock(fast_acquire=True)
        self._closed = False
        self._gone = anyio.Event()

    @property
    def is_open(self) -> bool:
        return not self._closed

    async def wait_closed(self) -> None:
        await self._gone.wait()

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Read frames until the sandbox ends or the connection is closed. Raises nothing."""
        task_status.started()
        try:
            while not self._closed:
                received = self._receive()
                if received is None:
                    await anyio.wait_readable(self._socket)
                elif not received:
                    break
                else:
                    for frame in self._inbox.feed(received):
                        self._dispatch(frame)
                    # Those who wait get their turn, however fast the other side sends.
                    await anyio.lowlevel.checkpoint()
        except Malformed as error:
            log.warning("closed the connection to sandbox %s: %s", self.hello.workspace_id, error)
        except (OSError, anyio.ClosedResourceError):
            pass
        finally:
            self.close()

    async def request(
        self,
        op: str,
        fields: Mapping[str, JsonValue] | None = None,
        data: bytes = b"",
        *,
        within_s: float | None,
        on_event: OnEvent | None = None,
        wants_socket: bool = False,
        cancels: bool = False,
    ) -> SocketReply:
        """Ask, and give the reply; `on_event` gets each event before it.

        `within_s` bounds the wait; without it the supervisor is asked now and then whether it still lives. With
        `cancels`, giving up tells the supervisor to stop what was asked for, and waits until it has. A reply's
        sockets are the caller's to close.

        Raises:
            SandboxLost: the sandbox ended, before or after it did what was asked.
            SandboxUnavailable: no reply in time, or one that is none.
            VaporformError: what the supervisor reports.
        """
        if self._closed:
            raise _lost()
        number = next(self._numbers)
        pending = self._pending[number] = _Pending(wants_socket)
        gave_up = True
        try:
            await self._send({"id": number, "op": op, **(fields or {})}, data)
            with anyio.fail_after(within_s):
                reply = await self._reply(pending, on_event, pings=within_s is None)
        except VaporformError:
            gave_up = False
            raise
        except TimeoutError:
            raise SandboxUnavailable(
                "the sandbox did not answer in time",
                hint="Repeat the call. If it goes on, the machine is overloaded, or the sandbox hangs: end it with "
                "`vaporform-mcp stop`; its files stay.",
            ) from None
        else:
            gave_up = False
            return reply
        finally:
            del self._pending[number]
            pending.close()
            if cancels and gave_up:
                await self._cancel(number)

    def close(self) -> None:
        """End the connection, and with it every request that waits. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):
            # Wakes whoever waits for the socket to be readable or writable, which closing alone does not.
            self._socket.shutdown(socket.SHUT_RDWR)
        anyio.notify_closing(self._socket)
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        for pending in self._pending.values():
            pending.fail(LostMeanwhile())
        self._gone.set()

    async def _reply(self, pending: _Pending, on_event: OnEvent | None, *, pings: bool) -> SocketReply:
        while True:
            while pending.frames:
                frame, sockets = pending.frames.popleft()
                if "event" in frame.fields:
                    if on_event is not None:
                        on_event(frame.fields, frame.data)
                elif "error" in frame.fields:
                    raise parse_fault(frame.fields.object("error"))
                else:
                    return SocketReply(frame.fields.object("ok"), frame.data, sockets)
            if pending.failure is not None:
                raise pending.failure
            pending.wake = anyio.Event()
            with anyio.move_on_after(PING_EVERY_S if pings else None) as waited:
                await pending.wake.wait()
            if waited.cancelled_caught:
                await self.request("info", within_s=PING_S)

    async def _cancel(self, number: int) -> None:
        with anyio.move_on_after(CANCEL_S, shield=True), suppress(VaporformError):
            await self.request("cancel", {"target": number}, within_s=CANCEL_S)

    async def _send(self, fields: Mapping[str, JsonValue], data: bytes) -> None:
        try:
            head = head_of(fields, len(data))
        except ValueError:
            raise InvalidArgument("the request is too large for the sandbox", hint="Send less at once.") from None
        async with self._writing:
            if self._closed:
                raise _lost()
            try:
                rest = self._write_nowait([memoryview(head), memoryview(data)])
                if rest:
                    # A frame cut short would garble every later one, so a cancelled sender still finishes it.
                    with anyio.fail_after(WRITE_S, shield=True):
                        await self._write(rest)
            except (OSError, TimeoutError, anyio.ClosedResourceError) as error:
                self.close()
                raise _lost() from error

    async def _write(self, parts: list[memoryview]) -> None:
        while parts:
            await anyio.wait_writable(self._socket)
            parts = self._write_nowait(parts)

    def _write_nowait(self, parts: list[memoryview]) -> list[memoryview]:
        """Send what the socket takes at once; the rest is given back."""
        try:
            sent = self._socket.sendmsg(parts)
        except BlockingIOError:
            return parts
        while parts and sent >= len(parts[0]):
            sent -= len(parts.pop(0))
        return [parts[0][sent:], *parts[1:]] if parts else []

    def _receive(self) -> bytes | None:
        """What has come, b"" at the end, None where nothing has."""
        try:
            received, ancillary, _, _ = self._socket.recvmsg(_READ_BYTES, _DESCRIPTOR_SPACE, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        self._descriptors.extend(_descriptors_in(ancillary))
        if len(self._descriptors) > _MAX_STRAY_DESCRIPTORS:
            raise Malformed("descriptors that nothing asked for")
        return received

    def _dispatch(self, frame: Frame) -> None:
        sockets = self._claimed(frame.fields.number("fds") if "fds" in frame.fields else 0)
        pending = self._pending.get(frame.fields.number("id"))
        wanted = pending is not None and pending.wants_socket and len(sockets) == 1 and frame.fields.is_object("ok")
        if not wanted:
            # A late reply to a request that was given up may have one; any other is an attempt at something.
            for one in sockets:
                one.close()
        if pending is not None:
            pending.put(frame, sockets if wanted else [])

    def _claimed(self, count: int) -> list[socket.socket]:
        if not 0 <= count <= len(self._descriptors):
            raise Malformed("fds")
        found: list[socket.socket] = []
        for _ in range(count):
            one = _internet_socket(self._descriptors.popleft())
            if one is not None:
                found.append(one)
        return found


async def connect(folder: Folder, *, within_s: float = GREETING_S) -> Connection:
    """A connection to the sandbox of `folder`, with its greeting read. Its `serve` has yet to be run.

    Raises:
        Absent: no sandbox runs.
        Hung: one does, and does not greet in time, or greets as something else.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with anyio.fail_after(within_s):
            await _call(sock, folder)
            return await _greeted(sock)
    except (FileNotFoundError, ConnectionError) as error:
        sock.close()
        raise Absent from error
    except (TimeoutError, OSError, Malformed) as error:
        sock.close()
        raise Hung from error
    except BaseException:
        sock.close()
        raise


async def _call(sock: socket.socket, folder: Folder) -> None:
    with socket_address(folder) as address:
        while True:
            try:
                sock.connect(address)
            except BlockingIOError:  # its queue is full, and nothing tells when it no longer is
                await anyio.sleep(0.01)
            else:
                return


async def _greeted(sock: socket.socket) -> Connection:
    inbox = Inbox()
    space = socket.CMSG_SPACE(_CREDENTIALS.size) + _DESCRIPTOR_SPACE
    pid = 0
    while True:
        try:
            received, ancillary, _, _ = sock.recvmsg(_READ_BYTES, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            await anyio.wait_readable(sock)
            continue
        for descriptor in _descriptors_in(ancillary):
            os.close(descriptor)
        if not received:
            raise ConnectionResetError
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(content) >= _CREDENTIALS.size:
                pid = _CREDENTIALS.unpack_from(content)[0]
        if frames := inbox.feed(received):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
            if len(frames) > 1:
                raise Malformed("frames before a request")
            return Connection(sock, _hello(frames[0].fields, pid), inbox)


def _hello(fields: Fields, pid: int) -> Hello:
    return Hello(
        protocol=fields.number("hello"),
        workspace_id=fields.text("workspace"),
        epoch=fields.number("epoch"),
        config=fields.text("config"),
        attached=fields.number("attached"),
        pid=pid,
    )


def _descriptors_in(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return found.tolist()


def _internet_socket(descriptor: int) -> socket.socket | None:
    """The descriptor as a TCP socket; closed, and None, where it is anything else."""
    try:
        one = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None
    if one.family in _INTERNET and one.type == socket.SOCK_STREAM:
        one.setblocking(False)
        return one
    one.close()
    return None


def _lost() -> SandboxLost:
    return SandboxLost(_ENDED, hint=_AGAIN)
