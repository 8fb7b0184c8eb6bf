"""JSON-RPC lines over two file descriptors, without threads: nothing blocks the loop, and nothing delays the end."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import select
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)

__all__ = ["MAX_LINE_BYTES", "claim_standard_streams", "open_wire"]

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Of one message; a longer one is refused without being kept."""

ANSWER_GRACE_S = 1.0
"""How long requests that came before the end of the input may still be answered."""

_READ_BYTES = 256 * 1024
_END_BYTES = 512

# The id of a message that is too long to be read, at either end of it, where libraries put it. Quotes inside strings
# are escaped, so nothing in an argument can look like this.
_ID = rb'"id"\s*:\s*("(?:[^"\\\x00-\x1f]){1,200}"|-?\d{1,18})'
_ID_AT_BEGIN = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID)
_ID_AT_END = re.compile(rb'"jsonrpc"\s*:\s*"2\.0"\s*,\s*' + _ID + rb"\s*\}\s*\Z")

_Came = MemoryObjectReceiveStream[SessionMessage | Exception]
_Sent = MemoryObjectSendStream[SessionMessage]


def claim_standard_streams() -> tuple[int, int]:
    """Take the process's standard input and output for the wire, and answer with their new descriptors.

    In their places are the null device and standard error, so that a stray print or a child reaches neither.

    Raises:
        OSError: one of them is closed.
    """
    wire_in, wire_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:
        os.dup2(null, 1)
    os.close(null)
    return wire_in, wire_out


@asynccontextmanager
async def open_wire(
    wire_in: int, wire_out: int, *, max_line_bytes: int = MAX_LINE_BYTES
) -> AsyncGenerator[tuple[_Came, _Sent]]:
    """The messages that come and those to send. The first ends when the other side has closed or is gone."""
    wire = _Wire(wire_in, wire_out, max_line_bytes)
    arriving, came = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, leaving = anyio.create_memory_object_stream[SessionMessage](0)
    with arriving, came, sent, leaving:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.read_into, arriving)
            tasks.start_soon(wire.write_from, leaving)
            yield came, sent
            tasks.cancel_scope.cancel()


class _Wire:
    def __init__(self, wire_in: int, wire_out: int, max_line_bytes: int) -> None:
        self._in = wire_in
        self._out = wire_out
        self._max_line_bytes = max_line_bytes
        self._poll = select.poll()
        self._poll.register(wire_out, select.POLLOUT)
        self._reading = anyio.CancelScope()
        self._is_broken = False
        self._unanswered: set[RequestId] = set()
        self._all_answered = anyio.Event()

    async def read_into(self, stream: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        async with stream:
            with self._reading:
                async for line in self._lines():
                    if message := _parsed(line):
                        self._note_arrival(message)
                        await stream.send(SessionMessage(message))
            if self._unanswered and not self._is_broken:
                with anyio.move_on_after(ANSWER_GRACE_S):
                    await self._all_answered.wait()

    async def write_from(self, stream: MemoryObjectReceiveStream[SessionMessage]) -> None:
        async with stream:
            async for item in stream:
                # Once nobody reads, messages are still taken, so that no sender waits for ever.
                if not self._is_broken:
                    await self._send(item.message)

    async def _send(self, message: JSONRPCMessage) -> None:
        try:
            await self._write(_line(message))
        except OSError as error:
            log.info("the client no longer reads: %s", error.strerror)
            self._is_broken = True
            self._reading.cancel()
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._note_answer(message.id)

    def _note_arrival(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest):
            self._unanswered.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            # A cancelled request is not answered.
            cancelled = (message.params or {}).get("requestId")
            if isinstance(cancelled, int | str):
                self._note_answer(cancelled)

    def _note_answer(self, request_id: RequestId) -> None:
        self._unanswered.discard(request_id)
        if not self._unanswered:
            self._all_answered.set()
            self._all_answered = anyio.Event()

    async def _lines(self) -> AsyncIterator[bytes]:
        buffer = bytearray()
        searched = 0
        while chunk := await self._chunk():
            buffer += chunk
            while True:
                end = buffer.find(b"\n", searched)
                searched = 0
                if end >= 0:
                    line = bytes(buffer[:end])
                    del buffer[: end + 1]
                    if line.strip():
                        yield line
                elif len(buffer) > self._max_line_bytes:
                    buffer = await self._skip_line(buffer)
                else:
                    searched = len(buffer)
                    break
        if buffer.strip():
            yield bytes(buffer)

    async def _skip_line(self, buffer: bytearray) -> bytearray:
        """Let the rest of a line pass and refuse it; answers with what came after it."""
        begin, end = bytes(buffer[:_END_BYTES]), bytes(buffer[-_END_BYTES:])
        rest = bytearray()
        while chunk := await self._chunk():
            line, newline, after = chunk.partition(b"\n")
            end = (end + line)[-_END_BYTES:]
            if newline:
                rest += after
                break
        log.warning("refused a message of more than %d bytes", self._max_line_bytes)
        if found := _ID_AT_BEGIN.match(begin) or _ID_AT_END.search(end):
            said = f"the message is larger than {self._max_line_bytes:,} bytes; send less at once"
            error = ErrorData(code=INVALID_REQUEST, message=said)
            await self._send(JSONRPCError(jsonrpc="2.0", id=json.loads(found[1]), error=error))
        return rest

    async def _chunk(self) -> bytes:
        """What has come, nothing at the end."""
        while True:
            try:
                await anyio.wait_readable(self._in)
            except PermissionError:
                # A regular file or the null device cannot be waited for (epoll refuses it), and never makes us wait.
                await anyio.lowlevel.checkpoint()
            try:
                return os.read(self._in, _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                log.info("the client's input broke: %s", error.strerror)
                return b""

    async def _write(self, line: bytes) -> None:
        """Write all of it.

        The descriptor stays in blocking mode, which others that share it may rely on; a pipe or socket that polls as
        writable takes `PIPE_BUF` bytes without blocking.
        """
        view = memoryview(line)
        while view:
            if not self._poll.poll(0):
                await anyio.wait_writable(self._out)
            with suppress(BlockingIOError):
                view = view[os.write(self._out, view[: select.PIPE_BUF]) :]


def _parsed(line: bytes) -> JSONRPCMessage | None:
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        pass
    # The quick parser refuses escaped halves of surrogate pairs, which JSON allows, and bytes that are not UTF-8. The
    # client would wait for an answer that never comes.
    try:
        return jsonrpc_message_adapter.validate_python(json.loads(line.decode("utf-8", "replace")), by_name=False)
    except (ValueError, RecursionError):
        log.warning("ignored a line of %d bytes that is no JSON-RPC message", len(line))
        return None


def _line(message: JSONRPCMessage) -> bytes:
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except ValueError:
        # Text that no UTF-8 stands for would otherwise end the connection.
        log.exception("a message could not be sent")
    if not isinstance(message, JSONRPCResponse | JSONRPCError):
        return b""
    error = ErrorData(code=INTERNAL_ERROR, message="the answer could not be written as JSON")
    answer = JSONRPCError(jsonrpc="2.0", id=message.id, error=error)
    return answer.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
