"""Commands of a Daytona sandbox: begun once, under a key, and waited for by questions short enough to get through."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio

from vaporform_mcp.errors import SandboxLost, VaporformError
from vaporform_mcp.sandboxes.base import Command, CommandResult, OutputChunk, ProcessStatus, RunState, TerminalSize
from vaporform_mcp.sandboxes.daytona.hand import OtherStart
from vaporform_mcp.sandboxes.daytona.handle import Handle
from vaporform_mcp.sandboxes.supervised.asking import ANSWER_S, LostMeanwhile, Reply
from vaporform_mcp.sandboxes.supervised.commands import Commands, lost_result
from vaporform_mcp.sandboxes.supervised.fields import JsonValue, Malformed

__all__ = ["DaytonaCommands"]

T = TypeVar("T")

LONGEST_WAIT_S = 20.0
"""Of one question: gateways on the way end what takes a minute."""

LEASE_S = 90.0
"""A command that nobody waits for any more, since its server was killed, is ended after so long."""

FIRST_SETTLE_S = 1.0
SETTLE_S = 0.5
"""How long an answer with output waits for more of it; the first for long enough that most commands have ended."""

CANCEL_S = 10.0
RESTARTS = 3


class DaytonaCommands(Handle, Commands):
    async def exec(
        self,
        command: Command,
        *,
        wait_s: float | None = None,
        until_port: bool = False,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        run = self._command_fields(command)
        return await self._run(command, run, wait_s=wait_s, until_port=until_port, on_output=on_output)

    async def ask_program(self, command: Command, *, within_s: float) -> bytes:
        return (await self._run(command, self._program_fields(command, within_s))).head

    async def _run(
        self,
        command: Command,
        run: dict[str, JsonValue],
        *,
        wait_s: float | None = None,
        until_port: bool = False,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        began = anyio.current_time()
        run["key"] = uuid.uuid4().hex
        terms = _Terms(wait_s=wait_s, until_port=until_port, streams=on_output is not None, began=began)
        begun = False
        try:
            while True:
                if begun:
                    reply = await self._ask_again("join", {"key": run["key"], **terms.next()})
                else:
                    reply = await self._begin({**run, **terms.next()}, command.stdin or b"")
                    begun = True
                data, chunk = terms.heed(reply)
                if chunk and on_output is not None:
                    on_output(chunk)
                if reply.fields.flag("full"):
                    return self._result(command, reply.fields, data, began)
        except LostMeanwhile:
            return lost_result(began)
        except SandboxLost:
            if begun:
                return lost_result(began)
            raise
        except anyio.get_cancelled_exc_class():
            await self._cancel(run["key"])
            raise

    async def _begin(self, fields: dict[str, JsonValue], stdin: bytes) -> Reply:
        """Begin it on the supervisor there is. Where another may have begun it and has ended, that was that."""
        for _ in range(RESTARTS):
            try:
                return await self._ask_at("run", fields, stdin, within_s=LONGEST_WAIT_S + ANSWER_S)
            except OtherStart as error:
                if not error.is_certain:
                    raise LostMeanwhile from None
        raise LostMeanwhile

    async def _ask_again(self, op: str, fields: dict[str, JsonValue]) -> Reply:
        try:
            return await self._ask_at(op, fields, within_s=LONGEST_WAIT_S + ANSWER_S)
        except OtherStart:
            raise LostMeanwhile from None

    async def _cancel(self, key: JsonValue) -> None:
        """The lease ends it where this does not get through."""
        with anyio.move_on_after(CANCEL_S, shield=True):
            try:
                await self._ask_at("cancel", {"key": key})
            except (VaporformError, OtherStart):
                return

    async def wait(self, process_id: str, *, wait_s: float, offset: int | None = None) -> ProcessStatus:
        until = anyio.current_time() + wait_s
        while True:
            left_s = max(0.0, until - anyio.current_time())
            step_s = min(left_s, LONGEST_WAIT_S)
            status = await self._at_any_start(partial(super().wait, process_id, wait_s=step_s, offset=offset))
            has_printed = offset is not None and status.output_bytes > offset
            if step_s == left_s or status.state is not RunState.RUNNING or has_printed:
                return status

    async def output(self, process_id: str, *, offset: int, limit: int) -> OutputChunk:
        return await self._at_any_start(partial(super().output, process_id, offset=offset, limit=limit))

    async def send_input(self, process_id: str, data: bytes, *, eof: bool = False) -> None:
        await self._at_any_start(partial(super().send_input, process_id, data, eof=eof))

    async def resize(self, process_id: str, size: TerminalSize) -> None:
        await self._at_any_start(partial(super().resize, process_id, size))

    async def stop(self, process_id: str, *, grace_s: float = 5.0) -> ProcessStatus:
        return await self._at_any_start(partial(super().stop, process_id, grace_s=grace_s))

    async def _at_any_start(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asked again where the supervisor is another by now: what belonged to the one before is then known as lost."""
        for _ in range(RESTARTS):
            try:
                return await ask()
            except OtherStart:
                continue
        return await ask()


class _Terms:
    """How each question of one wait is to be answered, and what was heard of the output until then."""

    def __init__(self, *, wait_s: float | None, until_port: bool, streams: bool, began: float) -> None:
        self._until = None if wait_s is None else began + wait_s
        self._until_port = until_port
        self._offset = 0 if streams else None
        self._settle_s = FIRST_SETTLE_S

    def next(self) -> dict[str, JsonValue]:
        left_s = None if self._until is None else max(0.0, self._until - anyio.current_time())
        last = left_s is not None and left_s <= LONGEST_WAIT_S
        return {
            "wait_s": LONGEST_WAIT_S if left_s is None else min(left_s, LONGEST_WAIT_S),
            "last": last,
            "lease_s": LEASE_S,
            "until_port": self._until_port,
            "offset": self._offset,
            "settle_s": self._settle_s,
        }

    def heed(self, reply: Reply) -> tuple[bytes, bytes]:
        """What the reply carries of head and tail, and of what was printed since the one before."""
        self._settle_s = SETTLE_S
        if self._offset is None:
            return reply.data, b""
        end = len(reply.data) - reply.fields.number("chunk_bytes")
        if not 0 <= end <= len(reply.data):
            raise Malformed("chunk_bytes")
        self._offset = reply.fields.number("next_offset")
        return reply.data[:end], reply.data[end:]
