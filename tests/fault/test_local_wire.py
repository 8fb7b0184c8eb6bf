"""A supervisor that has been taken over: whatever comes out of a sandbox, the server lives and answers in time."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import anyio
import pytest

from vaporform_mcp.errors import NotFound, SandboxLost, SandboxUnavailable, VaporformError
from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.client import Absent, Connection, Hung, SocketReply, connect
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.supervised.inside.wire import HEADER, MAX_FRAME_BYTES, MAX_JSON_BYTES, PROTOCOL

GREETING: Mapping[str, object] = {"hello": PROTOCOL, "workspace": "ws", "epoch": 1, "config": "x", "attached": 1}


def frame(fields: object, data: bytes = b"") -> bytes:
    encoded = json.dumps(fields).encode()
    return HEADER.pack(len(encoded), len(data)) + encoded + data


class Impostor:
    """Our end of the socket, where a supervisor should be."""

    def __init__(self, folder: Folder, listener: socket.socket) -> None:
        self.folder = folder
        self._listener = listener
        self._sock: socket.socket | None = None

    async def accept(self) -> None:
        await anyio.wait_readable(self._listener)
        self._sock, _ = self._listener.accept()

    def send(self, data: bytes, *descriptors: int) -> None:
        assert self._sock is not None
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self._sock.sendmsg([data], rights)

    async def request(self) -> int:
        """The id of the next request."""
        assert self._sock is not None
        await anyio.wait_readable(self._sock)
        json_size, data_size = HEADER.unpack(self._sock.recv(HEADER.size, socket.MSG_WAITALL))
        fields = json.loads(self._sock.recv(json_size, socket.MSG_WAITALL))
        if data_size:
            self._sock.recv(data_size, socket.MSG_WAITALL)
        return int(fields["id"])

    def hang_up(self) -> None:
        if self._sock is not None:
            self._sock.close()

    def close(self) -> None:
        self.hang_up()
        self._listener.close()


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Impostor]:
    folder = layout.folder_of(tmp_path, "ws", 1)
    layout.create(folder)
    opened = Impostor(folder, layout.listen(folder))
    yield opened
    opened.close()


@pytest.fixture
async def connection(impostor: Impostor) -> AsyncIterator[Connection]:
    async with anyio.create_task_group() as tasks:
        connected: list[Connection] = []

        async def call() -> None:
            connected.append(await connect(impostor.folder))

        async with anyio.create_task_group() as calling:
            calling.start_soon(call)
            await impostor.accept()
            impostor.send(frame(GREETING))
        tasks.start_soon(connected[0].serve)
        yield connected[0]
        connected[0].close()
        tasks.cancel_scope.cancel()


async def ask(connection: Connection, answer: bytes, *descriptors: int, impostor: Impostor) -> SocketReply:
    """Make a request that is answered with these bytes, `"ID"` in them replaced. Its error comes out in no group."""
    replies: list[SocketReply] = []
    failures: list[VaporformError] = []

    async def request() -> None:
        try:
            replies.append(await connection.request("connect", {"port": 1}, within_s=2, wants_socket=True))
        except VaporformError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request)
        number = await impostor.request()
        impostor.send(answer.replace(b'"ID"', str(number).rjust(4).encode()), *descriptors)
    if failures:
        raise failures[0]
    return replies[0]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def answers(connection: Connection, impostor: Impostor) -> bool:
    """Whether the connection still works."""
    await ask(connection, frame({"id": "ID", "ok": {}}), impostor=impostor)
    return connection.is_open


async def greeted(impostor: Impostor, first: bytes, *, within_s: float = 2.0) -> None:
    async with anyio.create_task_group() as tasks:

        async def speak() -> None:
            await impostor.accept()
            if first:
                impostor.send(first)
            else:
                impostor.hang_up()

        tasks.start_soon(speak)
        (await connect(impostor.folder, within_s=within_s)).close()


async def test_nobody_at_the_socket_is_no_sandbox(impostor: Impostor) -> None:
    impostor.close()
    with pytest.raises(Absent):
        await connect(impostor.folder)
    (impostor.folder.run / "s").unlink()
    with pytest.raises(Absent):
        await connect(impostor.folder)


async def test_one_that_hangs_up_before_it_greets_is_no_sandbox(impostor: Impostor) -> None:
    with pytest.RaisesGroup(Absent):
        await greeted(impostor, b"")


async def test_one_that_does_not_greet_hangs(impostor: Impostor) -> None:
    with pytest.raises(Hung):
        await connect(impostor.folder, within_s=0.1)


@pytest.mark.parametrize(
    "first",
    [
        frame({}),
        frame([]),
        frame({**GREETING, "hello": "1"}),
        frame({**GREETING, "epoch": None}),
        frame({**GREETING, "attached": 1e400}),
        frame(GREETING) + frame(GREETING),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        HEADER.pack(4, 0) + b"\xff\xfe{}",
    ],
)
async def test_one_that_greets_as_something_else_hangs(impostor: Impostor, first: bytes) -> None:
    with pytest.RaisesGroup(Hung):
        await greeted(impostor, first)


@pytest.mark.parametrize(
    "garbage",
    [
        HEADER.pack(MAX_JSON_BYTES + 1, 0),
        HEADER.pack(2, MAX_FRAME_BYTES) + b"{}",
        HEADER.pack(3, 0) + b"{}}",
        HEADER.pack(4, 0) + b"null",
        HEADER.pack(200_000, 0) + b"[" * 200_000,
        frame({"ok": {}}),
        frame({"id": "one", "ok": {}}),
        frame({"id": 10**30, "ok": {}}),
        frame({"id": 1, "ok": {}, "fds": 1}),
        frame({"id": 1, "ok": {}, "fds": -1}),
    ],
)
async def test_what_is_no_frame_ends_the_connection_and_loses_what_waits(
    connection: Connection, impostor: Impostor, garbage: bytes
) -> None:
    with pytest.RaisesGroup(SandboxLost):
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                await connection.request("list", within_s=5)

            tasks.start_soon(wait)
            await impostor.request()
            impostor.send(garbage)
    assert not connection.is_open
    with pytest.raises(SandboxLost):
        await connection.request("list", within_s=5)


async def test_an_answer_to_nothing_that_was_asked_is_ignored(connection: Connection, impostor: Impostor) -> None:
    impostor.send(frame({"id": 77, "ok": {}}) + frame({"id": 78, "event": "output"}, b"x" * 1000))
    assert await answers(connection, impostor)


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "ID"},
        {"id": "ID", "ok": []},
        {"id": "ID", "ok": None},
        {"id": "ID", "error": "no"},
        {"id": "ID", "error": {}},
        {"id": "ID", "error": {"code": "no_such_code", "message": "m"}},
        {"id": "ID", "error": {"code": "not_found"}},
        {"id": "ID", "error": {"code": "not_found", "message": 7}},
    ],
)
async def test_an_answer_that_is_none_fails_that_request_alone(
    connection: Connection, impostor: Impostor, answer: object
) -> None:
    with pytest.raises(SandboxUnavailable):
        await ask(connection, frame(answer), impostor=impostor)
    assert await answers(connection, impostor)


async def test_what_the_supervisor_reports_is_cut_and_made_printable(
    connection: Connection, impostor: Impostor
) -> None:
    error = {"code": "not_found", "message": "\x1b[2Jgone\0" + "x" * 100_000, "hint": "look\x07"}
    with pytest.raises(NotFound) as caught:
        await ask(connection, frame({"id": "ID", "error": error}), impostor=impostor)
    assert len(caught.value.message) <= 2_000
    assert "\x1b" not in caught.value.message
    assert "\0" not in caught.value.message
    assert "\x07" not in caught.value.hint


async def test_silence_ends_at_the_deadline(connection: Connection, impostor: Impostor) -> None:
    with pytest.raises(SandboxUnavailable):
        await connection.request("list", within_s=0.1)
    await impostor.request()
    assert await answers(connection, impostor)


async def test_the_end_of_the_supervisor_loses_every_request(connection: Connection, impostor: Impostor) -> None:
    lost: list[VaporformError] = []

    async def wait() -> None:
        with pytest.raises(SandboxLost) as caught:
            await connection.request("list", within_s=None)
        lost.append(caught.value)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(wait)
        await impostor.request()
        impostor.hang_up()
    assert len(lost) == 5


async def test_sockets_that_nobody_asked_for_are_closed(connection: Connection, impostor: Impostor) -> None:
    with socket.socket() as sock:
        before = open_descriptors()
        impostor.send(frame({"id": 99, "ok": {}, "fds": 2}), sock.fileno(), sock.fileno())
        assert await answers(connection, impostor)
        assert open_descriptors() == before


async def test_descriptors_without_end_end_the_connection_and_are_closed(
    connection: Connection, impostor: Impostor
) -> None:
    with socket.socket() as sock:
        before = open_descriptors()
        for _ in range(10):
            impostor.send(frame({"id": 99, "ok": {}}), sock.fileno())
        with anyio.fail_after(5):
            await connection.wait_closed()
        impostor.hang_up()
        assert open_descriptors() == before - 2


@pytest.mark.parametrize("kind", ["file", "unix", "datagram", "two"])
async def test_only_one_tcp_socket_is_taken_for_one(connection: Connection, impostor: Impostor, kind: str) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix, socket.socket(type=socket.SOCK_DGRAM) as udp:
        sent = {
            "file": [os.open("/", os.O_RDONLY)],
            "unix": [unix.fileno()],
            "datagram": [udp.fileno()],
            "two": [tcp.fileno(), tcp.fileno()],
        }[kind]
        before = open_descriptors()
        answer = frame({"id": "ID", "ok": {}, "fds": len(sent)})
        taken = await ask(connection, answer, *sent, impostor=impostor)
        assert taken.sockets == []
        assert open_descriptors() == before
        if kind == "file":
            os.close(sent[0])


async def test_an_event_whose_handler_fails_fails_its_own_request_alone(
    connection: Connection, impostor: Impostor
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                await connection.request("run", within_s=5, on_event=fail)

            tasks.start_soon(run)
            number = await impostor.request()
            impostor.send(frame({"id": number, "event": "output"}, b"x"))
    assert await answers(connection, impostor)


async def test_a_flood_does_not_keep_others_from_their_turn(connection: Connection, impostor: Impostor) -> None:
    seen: list[int] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await connection.request("run", within_s=20, on_event=lambda _, data: seen.append(len(data)))

        tasks.start_soon(run)
        number = await impostor.request()
        flood = frame({"id": number, "event": "output"}, b"x" * 60_000)
        done = frame({"id": number, "ok": {}})

        def send() -> None:
            for _ in range(200):
                impostor.send(flood)
            impostor.send(done)

        await anyio.to_thread.run_sync(send)
    assert seen == [60_000] * 200


@pytest.mark.parametrize("rest", [{"error": {"code": "not_found", "message": "m"}}, {"ok": []}, {"event": "output"}])
async def test_a_socket_beside_anything_but_an_answer_is_closed(
    connection: Connection, impostor: Impostor, rest: Mapping[str, object]
) -> None:
    with socket.socket() as sock:
        before = open_descriptors()
        with pytest.raises(VaporformError):
            await ask(connection, frame({"id": "ID", "fds": 1, **rest}), sock.fileno(), impostor=impostor)
        assert open_descriptors() == before
