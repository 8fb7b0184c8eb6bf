"""Commands and processes of a sandbox, run by its supervisor."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import anyio

from vaporform_mcp.errors import NotFound
from vaporform_mcp.sandboxes.base import (
    Activity,
    Command,
    CommandResult,
    OutputChunk,
    Printed,
    ProcessStatus,
    RunState,
    TerminalSize,
)
from vaporform_mcp.sandboxes.supervised.asking import ANSWER_S, WORKSPACE, Asking, LostMeanwhile, Reply
from vaporform_mcp.sandboxes.supervised.fields import Fields, JsonValue, Malformed

__all__ = ["Commands", "lost_result"]

_ID = re.compile(r"(?:(?P<start>[1-9][0-9]{0,8})\.)?(?P<number>[1-9][0-9]{0,8})")
_MAX_CHUNK = 8 * 1024 * 1024


class Commands(Asking):
    """Process ids: `7` is the seventh command of the sandbox's first start, `2.7` that of its second, and so on."""

    async def ask_program(self, command: Command, *, within_s: float) -> bytes:
        """Run a command of the server's own, which no list of processes shows; answers with what it printed first."""
        reply = await self.ask(
            "run", self._program_fields(command, within_s), within_s=within_s + ANSWER_S, cancels=True
        )
        return reply.data

    def _command_fields(self, command: Command) -> dict[str, JsonValue]:
        """What a supervisor is told of a command, however its answer is waited for."""
        return {
            "command": command.text,
            "cwd": self._cwd(command.cwd),
            "env": dict(command.env),
            "timeout_s": command.timeout_s,
            "interactive": command.interactive,
            "apart": command.apart,
            "terminal": None if command.terminal is None else _cells(command.terminal),
        }

    def _program_fields(self, command: Command, within_s: float) -> dict[str, JsonValue]:
        """Likewise of one of the server's own, whose folder may be anywhere."""
        return {**self._command_fields(command), "cwd": command.cwd, "timeout_s": within_s, "unlisted": True}

    def _notes(self, command: Command, exit_code: int | None, began: float) -> Sequence[str]:
        """What there is to say of a command that has been answered, `began` by anyio's clock."""
        return ()

    async def exec(
        self,
        command: Command,
        *,
        wait_s: float | None = None,
        until_port: bool = False,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        fields: dict[str, JsonValue] = {
            **self._command_fields(command),
            "wait_s": wait_s,
            "until_port": until_port,
            "stream": on_output is not None,
        }
        bounds = [bound for bound in (wait_s, command.timeout_s) if bound is not None]

        accepted = False

        def on_event(event: Fields, data: bytes) -> None:
            nonlocal accepted
            accepted = True
            if on_output is not None and event.text("event") == "output":
                on_output(data)

        began = anyio.current_time()
        try:
            reply = await self.ask(
                "run",
                fields,
                command.stdin or b"",
                within_s=min(bounds) + ANSWER_S if bounds else None,
                on_event=on_event,
                cancels=True,
            )
        except LostMeanwhile:
            if not accepted:
                raise
            return lost_result(began)
        return self._result(command, reply.fields, reply.data, began)

    def _result(self, command: Command, answer: Fields, data: bytes, began: float) -> CommandResult:
        status = self._status(answer.object("process"))
        stderr, data = _stderr_in(answer.object("stderr"), data) if command.apart else (None, data)
        head_bytes = answer.number("head_bytes")
        if not 0 <= head_bytes <= len(data):
            raise Malformed("head_bytes")
        return CommandResult(
            process_id=status.id,
            state=status.state,
            exit_code=status.exit_code,
            head=data[:head_bytes],
            tail=data[head_bytes:],
            omitted_bytes=answer.number("omitted_bytes"),
            duration_ms=status.duration_ms,
            output_file=None if answer.is_null("output_file") else answer.text("output_file"),
            ports=answer.ports("ports"),
            notes=self._notes(command, status.exit_code, began),
            stderr=stderr,
        )

    async def processes(self) -> Sequence[ProcessStatus]:
        return self._listed(await self.ask("list"))

    async def activity(self) -> Activity:
        listed, ports = await self.ask_both("list", "ports")
        return Activity(processes=self._listed(listed), ports=ports.fields.ports("ports"))

    def _listed(self, reply: Reply) -> Sequence[ProcessStatus]:
        return [self._status(one) for one in reply.fields.objects("processes")]

    async def process(self, process_id: str) -> ProcessStatus:
        return await self.wait(process_id, wait_s=0)

    async def wait(self, process_id: str, *, wait_s: float, offset: int | None = None) -> ProcessStatus:
        number = self._number(process_id)
        if number is None:
            return await self._lost(process_id)
        fields: dict[str, JsonValue] = {"process": number, "wait_s": wait_s, "offset": offset}
        reply = await self.ask("wait", fields, within_s=wait_s + ANSWER_S)
        return self._status(reply.fields.object("process"))

    async def output(self, process_id: str, *, offset: int, limit: int) -> OutputChunk:
        number = self._number(process_id)
        if number is None:
            await self._lost(process_id)
            return OutputChunk(data=b"", offset=offset, next_offset=offset, omitted_bytes=0)
        fields: dict[str, JsonValue] = {"process": number, "offset": offset, "limit": min(limit, _MAX_CHUNK)}
        reply = await self.ask("output", fields)
        answer = reply.fields
        return OutputChunk(
            data=reply.data,
            offset=answer.number("offset"),
            next_offset=answer.number("next_offset"),
            omitted_bytes=answer.number("omitted_bytes"),
        )

    async def send_input(self, process_id: str, data: bytes, *, eof: bool = False) -> None:
        number = self._number(process_id)
        if number is None:
            raise _ended_before(process_id)
        await self.ask("input", {"process": number, "eof": eof}, data)

    async def resize(self, process_id: str, size: TerminalSize) -> None:
        number = self._number(process_id)
        if number is None:
            raise _ended_before(process_id)
        await self.ask("resize", {"process": number, "size": _cells(size)})

    async def stop(self, process_id: str, *, grace_s: float = 5.0) -> ProcessStatus:
        number = self._number(process_id)
        if number is None:
            return await self._lost(process_id)
        reply = await self.ask("stop", {"process": number, "grace_s": grace_s}, within_s=grace_s + ANSWER_S)
        return self._status(reply.fields.object("process"))

    def _cwd(self, cwd: str) -> str:
        """Every sandbox's workspace can be named /workspace, also where it lies elsewhere."""
        if self.shown_at == WORKSPACE or not f"{cwd}/".startswith(f"{WORKSPACE}/"):
            return cwd
        return cwd.removeprefix(WORKSPACE).lstrip("/")

    def _number(self, process_id: str) -> str | None:
        """What the running supervisor calls it; None where it belonged to an earlier one. Raises `NotFound`."""
        match = _ID.fullmatch(process_id)
        start = int(match["start"] or 1) if match else 0
        if match is None or start > self.start:
            raise NotFound(
                f"there is no process {process_id[:40]!r} in this workspace",
                hint="check_process without an id lists those there are.",
            )
        return match["number"] if start == self.start else None

    async def _lost(self, process_id: str) -> ProcessStatus:
        self.check()
        return ProcessStatus(
            id=process_id,
            command="",
            state=RunState.LOST,
            exit_code=None,
            started_at=0.0,
            duration_ms=0,
            output_bytes=0,
        )

    def _status(self, process: Fields) -> ProcessStatus:
        number = process.text("id")
        try:
            state = RunState(process.text("state"))
        except ValueError:
            raise Malformed("state") from None
        return ProcessStatus(
            id=number if self.start == 1 else f"{self.start}.{number}",
            command=process.text("command"),
            state=state,
            exit_code=process.number("exit_code") if state is RunState.EXITED else None,
            started_at=process.real("started_at"),
            duration_ms=process.number("duration_ms"),
            output_bytes=process.number("output_bytes"),
            terminal=_size_of(process),
        )


def _stderr_in(told: Fields, data: bytes) -> tuple[Printed, bytes]:
    """What the answer's end has of stderr, and what comes before it."""
    head, tail = told.number("head_bytes"), told.number("tail_bytes")
    start = len(data) - head - tail
    if min(head, tail, start) < 0:
        raise Malformed("stderr")
    omitted = told.number("total") - head - tail
    return Printed(head=data[start : start + head], tail=data[start + head :], omitted_bytes=omitted), data[:start]


def _size_of(process: Fields) -> TerminalSize | None:
    if process.is_null("terminal"):
        return None
    match process.items("terminal"):
        case [int() as columns, int() as rows]:
            return TerminalSize(columns=columns, rows=rows)
        case _:
            raise Malformed("terminal")


def _cells(size: TerminalSize) -> list[JsonValue]:
    return [size.columns, size.rows]


def _ended_before(process_id: str) -> NotFound:
    return NotFound(f"process {process_id} ended with an earlier start of the sandbox", hint="Start the command again.")


def lost_result(began: float) -> CommandResult:
    """Of a command whose sandbox ended while it ran: how far it got nobody can tell, so nobody must repeat it."""
    return CommandResult(
        process_id="",
        state=RunState.LOST,
        exit_code=None,
        head=b"",
        tail=b"",
        omitted_bytes=0,
        duration_ms=round((anyio.current_time() - began) * 1000),
        output_file=None,
        ports=frozenset(),
    )
