"""The tools that run commands, follow and stop them, and reach what they serve."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.tools.arguments import (
    Arguments,
    flag,
    mapping,
    optional_flag,
    optional_seconds,
    optional_text,
    optional_whole,
    text,
    whole,
)
from vaporform_mcp.tools.context import Context
from vaporform_mcp.tools.output import cut_line
from vaporform_mcp.tools.running import (
    checked_result,
    executed_result,
    preview_result,
    processes_result,
    stopped_result,
)
from vaporform_mcp.tools.spec import ToolResult, ToolSpec

__all__ = ["TOOLS"]

MAX_COMMAND_BYTES = 100_000  # the kernel takes 131,072 bytes in one argument (MAX_ARG_STRLEN)
MAX_OUTPUT_BYTES = 30_000  # of one look at a process

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

COMMAND = text("command", aliases=("cmd", "script"))
REQUIRES_APPROVAL = optional_flag("requires_approval")
CWD = optional_text("cwd", "Default: /workspace", aliases=("working_directory", "workdir"))
ENV = mapping("env")
STDIN = optional_text("stdin")
TIMEOUT = optional_seconds("timeout", "Seconds after which it is killed", minimum=0.001)
WAIT = optional_seconds("wait", "Seconds after which it goes on in the background", minimum=0)
BACKGROUND = flag("background", "For servers: answer once a port listens", aliases=("is_background",))
PROCESS_ID = text("process_id", aliases=("pid", "id", "process"))
ANY_PROCESS_ID = optional_text("process_id", "Default: list all", aliases=("pid", "id", "process"))
CHECK_WAIT = optional_seconds("wait", "Seconds to wait for its end", minimum=0)
INPUT = optional_text("input", "Text for its stdin, with its newline", aliases=("stdin",))
OFFSET = optional_whole("offset", "Byte of its output to read from", minimum=0)
PORT = whole("port", minimum=1, maximum=65_535)


async def execute_command(context: Context, arguments: Arguments) -> ToolResult:
    from vaporform_mcp.sandboxes.base import Command

    line, env, stdin = arguments[COMMAND], arguments[ENV], arguments[STDIN]
    _check_command(line, env)
    background, wait = arguments[BACKGROUND], arguments[WAIT]
    command = Command(
        text=line,
        cwd=arguments[CWD] or "",
        env=env,
        timeout_s=arguments[TIMEOUT],
        stdin=None if stdin is None else stdin.encode(),
        # One that stays can be spoken to later; one that is waited for must find its input at an end.
        interactive=background and stdin is None,
    )
    workspace = await context.workspace()
    executed = await workspace.execute(
        command,
        wait_s=context.remaining_s() if wait is None else min(wait, context.remaining_s()),
        background=background,
        on_output=context.activity.output,
    )
    check = "check_process" in context.offered
    return executed_result(executed, check_wait_s=context.wait_limit_s if check else None)


async def check_process(context: Context, arguments: Arguments) -> ToolResult:
    process_id, said = arguments[ANY_PROCESS_ID], arguments[INPUT]
    workspace = await context.workspace()
    if process_id is None:
        return processes_result(await workspace.processes())
    checked = await workspace.check(
        process_id,
        wait_s=min(arguments[CHECK_WAIT] or 0, context.remaining_s()),
        data=None if said is None else said.encode(),
        offset=arguments[OFFSET],
        limit=MAX_OUTPUT_BYTES,
    )
    return checked_result(checked, from_end=arguments[OFFSET] is None)


async def stop_process(context: Context, arguments: Arguments) -> ToolResult:
    workspace = await context.workspace()
    return stopped_result(await workspace.stop(arguments[PROCESS_ID]))


async def get_preview_url(context: Context, arguments: Arguments) -> ToolResult:
    workspace = await context.workspace()
    return preview_result(await workspace.preview(arguments[PORT]))


def _check_command(line: str, env: Mapping[str, str]) -> None:
    if not line.strip():
        raise InvalidArgument("command is empty, so nothing was run", hint="Give a shell command line.")
    if "\0" in line or any("\0" in value for value in env.values()):
        raise InvalidArgument(
            "a command and its environment cannot hold a NUL character, so nothing was run",
            hint="Leave the NUL out; printf '\\0' makes one inside.",
        )
    if len(line.encode()) > MAX_COMMAND_BYTES:
        raise InvalidArgument(
            f"the command is {len(line.encode()):,} bytes long and the limit is {MAX_COMMAND_BYTES:,}; nothing was run",
            hint="Write it to a file with write_to_file and run that.",
        )
    if wrong := [name for name in env if not _VARIABLE.fullmatch(name)]:
        raise InvalidArgument(
            f"{cut_line(wrong[0], 60)!r} is no name of an environment variable, so nothing was run",
            hint="Use letters, digits and underscores.",
        )


TOOLS = (
    ToolSpec(
        name="execute_command",
        title="Run command",
        description="Run a shell command in the sandbox. Each call is a new shell: cwd and exports do not persist.",
        arguments=(COMMAND, REQUIRES_APPROVAL, CWD, ENV, STDIN, TIMEOUT, WAIT, BACKGROUND),
        run=execute_command,
        destructive=True,
        open_world=True,
    ),
    ToolSpec(
        name="check_process",
        title="Check process",
        description="State and new output of a command that goes on; can wait for its end or send it input.",
        arguments=(ANY_PROCESS_ID, CHECK_WAIT, INPUT, OFFSET),
        run=check_process,
        open_world=True,
    ),
    ToolSpec(
        name="stop_process",
        title="Stop process",
        description="Stop a command with everything that it started.",
        arguments=(PROCESS_ID,),
        run=stop_process,
        destructive=True,
        idempotent=True,
        output={
            "process_id": {"type": "string"},
            "command": {"type": "string"},
            "state": {"type": "string"},
            "exit_code": {"type": ["integer", "null"]},
        },
        required_output=("process_id", "state", "exit_code"),
    ),
    ToolSpec(
        name="get_preview_url",
        title="Preview URL",
        description="A URL at which the user reaches a port of the sandbox.",
        arguments=(PORT,),
        run=get_preview_url,
        read_only=True,
        idempotent=True,
        output={
            "port": {"type": "integer"},
            "url": {"type": "string"},
            "public": {"type": "boolean"},
            "expires_at": {"type": "string"},
            "sleeps_after_min": {"type": "integer"},
        },
        required_output=("port", "url", "public"),
    ),
)
