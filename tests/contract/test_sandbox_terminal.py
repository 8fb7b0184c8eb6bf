"""What every sandbox promises about commands that have a terminal."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import PROVIDERS, WAIT_S, open_sandbox, until
from vaporform_mcp.errors import InvalidArgument, NotFound, NotSupported
from vaporform_mcp.sandboxes.base import Command, CommandResult, RunState, Sandbox, TerminalSize

SIZE = TerminalSize(columns=91, rows=17)
CTRL_C = b"\x03"

SECONDS = 1_000_000 + os.getpid()
"""Tells the sleepers of these tests from those of others, where a sandbox shows the processes of its machine."""

NAP = f"sleep {SECONDS}"
COUNT = Command(text=f"pgrep -fc '[s]leep {SECONDS}' || true")


@pytest.fixture(params=PROVIDERS)
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with open_sandbox(request.param, tmp_path) as opened:
        yield opened


def in_terminal(text: str, *, stdin: bytes | None = None, timeout_s: float | None = WAIT_S) -> Command:
    return Command(text=text, terminal=SIZE, stdin=stdin, timeout_s=timeout_s)


async def begin(sandbox: Sandbox, text: str) -> str:
    result = await sandbox.exec(in_terminal(text, timeout_s=None), wait_s=0)
    assert result.state is RunState.RUNNING, result
    return result.process_id


async def shown(sandbox: Sandbox, process_id: str) -> bytes:
    return (await sandbox.output(process_id, offset=0, limit=100_000)).data


async def until_shown(sandbox: Sandbox, process_id: str, text: bytes) -> None:
    async def is_there() -> bool:
        return text in await shown(sandbox, process_id)

    await until(is_there)


async def ended(sandbox: Sandbox, process_id: str) -> int | None:
    status = await sandbox.wait(process_id, wait_s=WAIT_S)
    assert status.state is RunState.EXITED, status
    return status.exit_code


async def test_a_command_has_a_terminal_of_the_size_asked_for(sandbox: Sandbox) -> None:
    text = "test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM && echo seen > /dev/tty; exit 3"
    result = await sandbox.exec(in_terminal(text))
    assert (result.state, result.exit_code) == (RunState.EXITED, 3)
    assert result.head == b"17 91\r\nxterm-256color\r\nseen\r\n"
    status = await sandbox.process(result.process_id)
    assert status.terminal == SIZE
    plain = await sandbox.exec(Command(text="tty; echo ${TERM:-none}"))
    assert plain.head.splitlines()[0] == b"not a tty"
    assert (await sandbox.process(plain.process_id)).terminal is None


async def test_each_terminal_is_its_commands_own_and_no_other_can_be_typed_into(sandbox: Sandbox) -> None:
    first = await begin(sandbox, f"tty; {NAP}")
    await until_shown(sandbox, first, b"\n")
    name = (await shown(sandbox, first)).decode().strip()
    inject = f"python3 -c \"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x')\"; echo $?; tty; echo > {name}"
    other = await sandbox.exec(in_terminal(inject))
    lines = other.head.decode().splitlines()
    assert name not in lines
    if sandbox.isolation != "daytona":  # there the machine's own kernel decides
        assert "PermissionError" in other.head.decode()
        assert "1" in lines


async def test_a_size_that_changes_is_told_to_the_program(sandbox: Sandbox) -> None:
    process = await begin(sandbox, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    await until_shown(sandbox, process, b"ready")
    await sandbox.resize(process, TerminalSize(columns=120, rows=40))
    await until_shown(sandbox, process, b"40 120\r\n")
    assert (await sandbox.process(process)).terminal == TerminalSize(columns=120, rows=40)
    for size in (TerminalSize(columns=0, rows=24), TerminalSize(columns=80, rows=1001)):
        with pytest.raises(InvalidArgument):
            await sandbox.resize(process, size)
        with pytest.raises(InvalidArgument):
            await sandbox.exec(Command(text="true", terminal=size))


async def test_ctrl_c_interrupts_what_is_in_the_foreground_alone(sandbox: Sandbox) -> None:
    process = await begin(sandbox, "bash --norc -i")
    await sandbox.send_input(process, f"{NAP}\n".encode())

    async def sleeps() -> bool:
        found = await sandbox.exec(COUNT)
        return found.head.strip() == b"1"

    await until(sleeps)
    await sandbox.send_input(process, CTRL_C)
    await sandbox.send_input(process, b"echo code=$?; set -o | grep monitor\n")
    await until_shown(sandbox, process, b"code=130\r\n")
    await until_shown(sandbox, process, b"monitor        \ton")
    await sandbox.send_input(process, b"exit 9\n")
    assert await ended(sandbox, process) == 9


async def test_ctrl_c_ends_a_command_that_does_not_mind_it(sandbox: Sandbox) -> None:
    process = await begin(sandbox, f"echo ready; {NAP}")
    await until_shown(sandbox, process, b"ready")
    await sandbox.send_input(process, CTRL_C)
    assert await ended(sandbox, process) == 128 + 2


async def test_a_repl_answers_and_ends_at_the_end_of_its_input(sandbox: Sandbox) -> None:
    process = await begin(sandbox, "python3 -q")
    await until_shown(sandbox, process, b">>> ")
    await sandbox.send_input(process, b"6 * 7\n")
    await until_shown(sandbox, process, b"42\r\n>>> ")
    await sandbox.send_input(process, b"", eof=True)
    assert await ended(sandbox, process) == 0


async def test_what_is_given_as_stdin_is_typed_first(sandbox: Sandbox) -> None:
    result = await sandbox.exec(in_terminal("read name; echo hello $name", stdin=b"ada\n"))
    assert result.head.endswith(b"hello ada\r\n")


async def test_at_its_deadline_the_whole_session_dies(sandbox: Sandbox) -> None:
    text = f"trap '' HUP TERM; set -m; (trap '' HUP TERM; {NAP}) & {NAP}"
    result: CommandResult = await sandbox.exec(in_terminal(text, timeout_s=0.5))
    assert (result.state, result.exit_code) == (RunState.TIMED_OUT, None)
    left = await sandbox.exec(COUNT)
    assert left.head.strip() == b"0"


async def test_a_shell_that_is_stopped_is_hung_up_on(sandbox: Sandbox) -> None:
    process = await begin(sandbox, "bash --norc -i")
    await sandbox.send_input(process, f"{NAP} & echo started\n".encode())
    await until_shown(sandbox, process, b"started\r\n")
    with anyio.fail_after(WAIT_S):
        status = await sandbox.stop(process, grace_s=2 * WAIT_S)
    assert status.state is RunState.KILLED
    left = await sandbox.exec(COUNT)
    assert left.head.strip() == b"0"
    with pytest.raises(NotFound):
        await sandbox.resize(process, SIZE)


async def test_where_there_is_no_terminal_there_is_none_to_resize(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text=NAP), wait_s=0)
    with pytest.raises(NotSupported):
        await sandbox.resize(result.process_id, SIZE)


@pytest.mark.parametrize("megabytes", [8, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
async def test_of_what_floods_a_terminal_the_ends_are_kept(sandbox: Sandbox, megabytes: int) -> None:
    text = f"stty -opost; head -c {megabytes}000000 /dev/zero | tr '\\0' x; echo end"
    result = await sandbox.exec(in_terminal(text, timeout_s=280))
    assert (result.state, result.exit_code) == (RunState.EXITED, 0)
    assert len(result.head) + len(result.tail) < 100_000
    assert len(result.head) + result.omitted_bytes + len(result.tail) == megabytes * 1_000_000 + len("end\n")
    assert result.tail.endswith(b"xend\n")
