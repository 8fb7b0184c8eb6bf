"""JSON-RPC lines over descriptors of every kind that a client may start us with."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, JSONRPCRequest, JSONRPCResponse

from vaporform_mcp.server.wire import MAX_LINE_BYTES, open_wire

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class Client:
    """The other side: what it writes comes in, what goes out it reads."""

    def __init__(self, kind: str) -> None:
        if kind == "pipes":
            self.wire_in, self._write = os.pipe()
            self._read, self.wire_out = os.pipe()
        else:
            ours, theirs = socket.socketpair()
            self.wire_in = self.wire_out = ours.detach()
            self._read = self._write = theirs.detach()
        self._open = {self.wire_in, self.wire_out, self._read, self._write}

    def send(self, data: bytes) -> None:
        os.write(self._write, data)

    async def send_much(self, data: bytes) -> None:
        def write() -> None:
            view = memoryview(data)
            while view:
                view = view[os.write(self._write, view) :]

        await anyio.to_thread.run_sync(write)

    async def receive_line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            await anyio.wait_readable(self._read)
            line += os.read(self._read, 65_536)
        return bytes(line)

    def hang_up(self) -> None:
        for fd in {self._write, self._read}:
            os.close(fd)
            self._open.discard(fd)

    def end_input(self) -> None:
        if self._write == self._read:
            with socket.socket(fileno=os.dup(self._write)) as side:
                side.shutdown(socket.SHUT_WR)
        else:
            os.close(self._write)
            self._open.discard(self._write)

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)


@pytest.fixture(params=["pipes", "socket"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    made = Client(request.param)
    yield made
    made.close()


@asynccontextmanager
async def served(client: Client, *, max_line_bytes: int = MAX_LINE_BYTES) -> AsyncGenerator[Streams]:
    with anyio.fail_after(20):
        async with open_wire(client.wire_in, client.wire_out, max_line_bytes=max_line_bytes) as streams:
            yield streams


def request(number: int, **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "m", "params": params}).encode() + b"\n"


async def next_message(streams: Streams) -> JSONRPCMessage:
    item = await streams[0].receive()
    assert isinstance(item, SessionMessage)
    return item.message


async def answer(streams: Streams, number: int, **result: object) -> None:
    await streams[1].send(SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=number, result=result)))


async def test_messages_come_and_go(client: Client) -> None:
    async with served(client) as streams:
        client.send(request(1, a="b"))
        message = await next_message(streams)
        assert isinstance(message, JSONRPCRequest)
        assert (message.id, message.params) == (1, {"a": "b"})
        await answer(streams, 1, text="ünïcode")
        assert json.loads(await client.receive_line())["result"] == {"text": "ünïcode"}


async def test_several_messages_in_one_piece_and_one_in_several_pieces_are_told_apart(client: Client) -> None:
    async with served(client) as streams:
        client.send(request(1) + b"\n  \n" + request(2) + request(3)[:10])
        assert [getattr(await next_message(streams), "id", None) for _ in range(2)] == [1, 2]
        client.send(request(3)[10:])
        assert getattr(await next_message(streams), "id", None) == 3


@pytest.mark.parametrize("size", [100, 4_096, 300_000, 5_000_000])
async def test_messages_of_any_size_arrive_whole_both_ways(client: Client, size: int) -> None:
    async with served(client) as streams, anyio.create_task_group() as tasks:
        tasks.start_soon(client.send_much, request(1, text="x" * size))
        message = await next_message(streams)
        assert isinstance(message, JSONRPCRequest)
        tasks.start_soon(answer_with, streams, size)
        assert len(json.loads(await client.receive_line())["result"]["text"]) == size


async def answer_with(streams: Streams, size: int) -> None:
    await answer(streams, 1, text="y" * size)


async def test_a_client_that_does_not_read_holds_up_nobody_else(client: Client) -> None:
    async with served(client) as streams, anyio.create_task_group() as tasks:
        tasks.start_soon(answer_with, streams, 5_000_000)
        client.send(request(2))
        assert getattr(await next_message(streams), "id", None) == 2
        assert len(await client.receive_line()) > 5_000_000


@pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b'{"a": 1}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
async def test_a_line_that_is_no_message_is_passed_over(client: Client, line: bytes) -> None:
    async with served(client) as streams, anyio.create_task_group() as tasks:
        tasks.start_soon(client.send_much, line + request(1))
        assert getattr(await next_message(streams), "id", None) == 1


async def test_what_json_allows_and_quick_parsers_refuse_still_gets_through(client: Client) -> None:
    async with served(client) as streams:
        client.send(b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\\ud800"}}\n')
        message = await next_message(streams)
        assert isinstance(message, JSONRPCRequest)
        assert message.params == {"a": "\ud800"}
        client.send(b'{"jsonrpc":"2.0","id":2,"method":"m","params":{"a":"\xff"}}\n')
        message = await next_message(streams)
        assert isinstance(message, JSONRPCRequest)
        assert message.params == {"a": "\ufffd"}


async def test_an_answer_that_cannot_be_written_becomes_an_error(client: Client) -> None:
    async with served(client) as streams:
        await answer(streams, 1, text="\ud800")
        assert json.loads(await client.receive_line())["error"]["code"] == -32603
        await answer(streams, 2)
        assert json.loads(await client.receive_line())["id"] == 2


@pytest.mark.parametrize("where", ["begin", "end"])
async def test_a_message_over_the_limit_is_refused_under_its_id(client: Client, where: str) -> None:
    padding = '"params":{"text":"' + "x" * 3_000_000 + '"}'
    if where == "begin":
        line = f'{{"jsonrpc":"2.0","id":"seven","method":"m",{padding}}}\n'
    else:
        line = f'{{"method":"m",{padding},"jsonrpc":"2.0","id":"seven"}}\n'
    async with served(client, max_line_bytes=1_000_000) as streams, anyio.create_task_group() as tasks:
        tasks.start_soon(client.send_much, line.encode() + request(8))
        refusal = json.loads(await client.receive_line())
        assert refusal["id"] == "seven"
        assert "larger than" in refusal["error"]["message"]
        assert getattr(await next_message(streams), "id", None) == 8


async def test_the_messages_end_with_the_input(client: Client) -> None:
    async with served(client) as streams:
        client.send(request(1)[:-1])  # the last line may lack its newline
        client.end_input()
        assert getattr(await next_message(streams), "id", None) == 1
        await answer(streams, 1)
        with pytest.raises(anyio.EndOfStream):
            await streams[0].receive()


async def test_requests_that_came_before_the_end_of_the_input_may_still_be_answered(client: Client) -> None:
    async with served(client) as streams, anyio.create_task_group() as tasks:
        client.send(request(1))
        client.end_input()
        await next_message(streams)
        ended = anyio.Event()

        async def wait_for_the_end() -> None:
            with pytest.raises(anyio.EndOfStream):
                await streams[0].receive()
            ended.set()

        tasks.start_soon(wait_for_the_end)
        await anyio.wait_all_tasks_blocked()
        assert not ended.is_set()
        await answer(streams, 1)
        await ended.wait()
        assert json.loads(await client.receive_line())["id"] == 1


async def test_a_client_that_is_gone_ends_the_messages_and_blocks_nobody(client: Client) -> None:
    async with served(client) as streams:
        client.hang_up()
        for number in range(3):
            await answer(streams, number, text="x" * 200_000)
        with pytest.raises(anyio.EndOfStream):
            await streams[0].receive()


async def test_input_from_a_file_and_output_to_one_work(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(request(1))
    wire_in = os.open(tmp_path / "in", os.O_RDONLY)
    wire_out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    try:
        async with open_wire(wire_in, wire_out) as streams:
            assert getattr(await next_message(streams), "id", None) == 1
            await answer(streams, 1)
            with pytest.raises(anyio.EndOfStream):
                await streams[0].receive()
    finally:
        os.close(wire_in)
        os.close(wire_out)
    assert json.loads((tmp_path / "out").read_text())["id"] == 1


async def test_the_null_device_is_an_input_that_has_ended() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        async with open_wire(null, null) as streams:
            with pytest.raises(anyio.EndOfStream):
                await streams[0].receive()
    finally:
        os.close(null)
