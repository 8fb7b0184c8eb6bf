"""Commands and processes as results: how they ended, what they printed, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaporform_mcp.tools.arguments import Json
from vaporform_mcp.tools.output import Shown, cut_line, show
from vaporform_mcp.tools.spec import ToolResult
from vaporform_mcp.tools.text import (
    duration,
    mirror_facts,
    mirror_line,
    paragraphs,
    preview_facts,
    preview_line,
    previews_text,
)

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.sandboxes.base import CommandResult, Preview, ProcessStatus
    from vaporform_mcp.workspace.results import Checked, Executed

__all__ = ["checked_result", "executed_result", "preview_result", "processes_result", "stopped_result"]

MAX_COMMAND_CHARS = 120


def executed_result(executed: Executed, *, check_wait_s: float | None) -> ToolResult:
    """What a command came to. `check_wait_s` is for the call that follows it; None where there is no such tool."""
    result = executed.result
    shown = show(result.head, result.tail, result.omitted_bytes)
    previews: list[Json] = [preview_facts(preview) for preview in executed.previews]
    return ToolResult(
        text=paragraphs(
            _outcome(result, check_wait_s),
            _output_text(shown, _where_the_rest_is(result, check_wait_s)) or _silence(result),
            "\n".join(result.notes),
            previews_text(executed.previews),
            mirror_line(executed.mirror),
        ),
        facts={
            "state": result.state.value,
            "exit_code": result.exit_code,
            "duration_ms": result.duration_ms,
            "omitted_bytes": shown.omitted_bytes,
            **({"process_id": result.process_id} if result.process_id else {}),
            "previews": previews,
            "mirror": mirror_facts(executed.mirror),
        },
    )


def _outcome(result: CommandResult, check_wait_s: float | None) -> str:
    took = duration(result.duration_ms)
    match result.state.value:
        case "exited":
            return f"Exit code {result.exit_code} after {took}."
        case "timed_out":
            return f"Killed after {took}, when its timeout had passed; this is what it printed until then."
        case "killed":
            return f"Stopped after {took}."
        case "lost":
            return f"Lost after {took}: the sandbox ended while it ran, so whether it did its work is not known."
        case _:
            return f"Still running after {took} as process {result.process_id}{_how_to_follow(result, check_wait_s)}."


def _how_to_follow(result: CommandResult, check_wait_s: float | None) -> str:
    if check_wait_s is not None:
        return f': to wait for its end, check_process(process_id="{result.process_id}", wait={check_wait_s:g})'
    return f"; its output goes to {result.output_file}" if result.output_file else ""


def _where_the_rest_is(result: CommandResult, check_wait_s: float | None) -> str:
    ways: list[str] = []
    if check_wait_s is not None:
        ways.append(f'check_process(process_id="{result.process_id}", offset=…)')
    if result.output_file:
        ways.append(f"the file {result.output_file} in the sandbox")
    return " or ".join(ways)


def _output_text(shown: Shown, rest: str) -> str:
    if not shown.omitted_bytes:
        return shown.head
    read = f"; read them with {rest}" if rest else ""
    return paragraphs(shown.head, f"[… {shown.omitted_bytes:,} bytes left out here{read} …]", shown.tail)


def _silence(result: CommandResult) -> str:
    return "(no output)" if result.state.value == "exited" else ""


def checked_result(checked: Checked, *, from_end: bool) -> ToolResult:
    """A process and its output. `from_end`: no offset was asked for, so what lies before the output was left out."""
    status, output = checked.status, checked.output
    shown = show(output.data, b"", 0)
    before = output.omitted_bytes
    lost = f"[{before:,} bytes before this are no longer kept]" if before else ""
    if from_end and output.offset:
        before = output.offset
        lost = f'[{before:,} bytes before this: check_process(process_id="{status.id}", offset=0)]'
    previews: list[Json] = [preview_facts(preview) for preview in checked.previews]
    return ToolResult(
        text=paragraphs(
            f"{_process_line(status)}.",
            lost,
            _output_text(shown, f'check_process(process_id="{status.id}", offset=…)') or "(no new output)",
            _what_follows(checked),
            previews_text(checked.previews),
        ),
        facts={
            "process_id": status.id,
            "state": status.state.value,
            "exit_code": status.exit_code,
            "next_offset": output.next_offset,
            "omitted_bytes": before + shown.omitted_bytes,
            "previews": previews,
        },
    )


def _what_follows(checked: Checked) -> str:
    call = f'check_process(process_id="{checked.status.id}", offset={checked.output.next_offset}'
    if checked.output.next_offset < checked.status.output_bytes:
        return f"[more of its output: {call})]"
    return f"[what it prints from here on: {call}, wait=…)]" if checked.status.state.value == "running" else ""


def processes_result(processes: Sequence[ProcessStatus]) -> ToolResult:
    rows: list[Json] = [_process_facts(status) for status in processes]
    lines = "\n".join(_process_line(status) for status in processes)
    return ToolResult(text=lines or "No process has been started.", facts={"processes": rows})


def stopped_result(status: ProcessStatus) -> ToolResult:
    return ToolResult(text=f"{_process_line(status)}.", facts=_process_facts(status))


def preview_result(preview: Preview) -> ToolResult:
    return ToolResult(text=preview_line(preview), facts=preview_facts(preview))


def _process_facts(status: ProcessStatus) -> dict[str, Json]:
    return {
        "process_id": status.id,
        "command": _on_one_line(status.command),
        "state": status.state.value,
        "exit_code": status.exit_code,
    }


def _process_line(status: ProcessStatus) -> str:
    took = duration(status.duration_ms)
    match status.state.value:
        case "running":
            how = f"running for {took}"
        case "exited":
            how = f"exited with code {status.exit_code} after {took}"
        case "timed_out":
            how = f"killed at its timeout after {took}"
        case "killed":
            how = f"stopped after {took}"
        case _:
            how = f"lost with its sandbox after {took}"
    return f"Process {status.id}: {how} ({_on_one_line(status.command)})"


def _on_one_line(command: str) -> str:
    return cut_line(" ".join(command.split()), MAX_COMMAND_CHARS)
