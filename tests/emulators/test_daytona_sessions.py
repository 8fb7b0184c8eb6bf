"""Sessions and terminals in a sandbox of the emulated Daytona, through the real SDK."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from daytona import AsyncSandbox, PtySize, SessionExecuteRequest
from daytona.common.errors import (
    DaytonaCommandAlreadyCompletedError,
    DaytonaConflictError,
    DaytonaError,
    DaytonaInternalServerError,
    DaytonaNotFoundError,
)

from tests.emulators.daytona.emulator import Emulator

_WAIT_S = 20.0


@pytest.fixture
async def session(sandbox: AsyncSandbox) -> AsyncSandbox:
    """A sandbox with a session named s."""
    await sandbox.process.create_session("s")
    return sandbox


async def run(sandbox: AsyncSandbox, command: str) -> str:
    """Start it in the session, and answer with its id."""
    request = SessionExecuteRequest(command=command, run_async=True)
    return (await sandbox.process.execute_session_command("s", request)).cmd_id


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what is waited for is in the sandbox
        await anyio.sleep(0.01)


async def exit_code(sandbox: AsyncSandbox, command: str) -> int | None:
    with anyio.fail_after(_WAIT_S):
        while True:
            found = await sandbox.process.get_session_command("s", command)
            if found.exit_code is not None:
                return found.exit_code


async def test_a_session_keeps_its_folder_and_variables(session: AsyncSandbox) -> None:
    for command in ("mkdir -p src && cd src", "export GREETING=hello"):
        await session.process.execute_session_command("s", SessionExecuteRequest(command=command))
    request = SessionExecuteRequest(command="echo $GREETING from $PWD; echo lost >&2; (exit 3)")
    done = await session.process.execute_session_command("s", request)
    assert (done.exit_code, done.stdout, done.stderr) == (3, "hello from /home/daytona/src\n", "lost\n")
    assert "\1\1\1hello" in (done.output or "")
    assert [each.session_id for each in await session.process.list_sessions()] == ["s"]
    assert len((await session.process.get_session("s")).commands) == 3


async def test_sessions_that_are_there_twice_or_not_at_all_are_told_apart(session: AsyncSandbox) -> None:
    with pytest.raises(DaytonaConflictError):
        await session.process.create_session("s")
    with pytest.raises(DaytonaNotFoundError):
        await session.process.delete_session("none")
    with pytest.raises(DaytonaInternalServerError, match="session not found"):
        await session.process.execute_session_command("none", SessionExecuteRequest(command="true"))


async def test_output_is_followed_from_the_start_to_the_end_of_its_command(session: AsyncSandbox) -> None:
    command = await run(session, "echo first; until [ -e go ]; do :; done; echo oops >&2; printf last")
    out: list[str] = []
    err: list[str] = []

    with anyio.fail_after(_WAIT_S):
        async with anyio.create_task_group() as tasks:
            follow = session.process.get_session_command_logs_async
            tasks.start_soon(follow, "s", command, out.append, err.append)
            await until(lambda: bool(out))
            assert out == ["first\n"]
            await session.process.exec("touch go")
    assert ("".join(out), "".join(err)) == ("first\nlast\n", "oops\n")
    assert await exit_code(session, command) == 0
    logs = await session.process.get_session_command_logs("s", command)
    assert (logs.stdout, logs.stderr) == ("first\nlast\n", "oops\n")


@pytest.mark.parametrize("code", [1006, 1011])
async def test_following_output_may_be_cut_off_after_what_came(
    session: AsyncSandbox, emulator: Emulator, code: int
) -> None:
    command = await run(session, "echo first; until [ -e go ]; do :; done")
    emulator.fault("get_session_logs", close_code=code, after_frames=1)
    out: list[str] = []
    with pytest.raises(DaytonaError, match=f"close code {code}"), anyio.fail_after(_WAIT_S):
        await session.process.get_session_command_logs_async("s", command, out.append, out.append)
    assert out == ["first\n"]


async def test_input_is_echoed_unless_that_is_suppressed(session: AsyncSandbox) -> None:
    command = await run(session, "read line; echo got:$line")
    await session.process.send_session_command_input("s", command, "hey")
    assert await exit_code(session, command) == 0
    assert (await session.process.get_session_command_logs("s", command)).stdout == "hey\ngot:hey\n"
    quiet = SessionExecuteRequest(command="read line; echo got:$line", run_async=True, suppress_input_echo=True)
    command = (await session.process.execute_session_command("s", quiet)).cmd_id
    await session.process.send_session_command_input("s", command, "hey")
    assert await exit_code(session, command) == 0
    assert (await session.process.get_session_command_logs("s", command)).stdout == "got:hey\n"
    with pytest.raises(DaytonaCommandAlreadyCompletedError):
        await session.process.send_session_command_input("s", command, "hey")


async def test_a_command_that_ends_its_shell_is_never_answered_and_the_next_finds_a_broken_pipe(
    session: AsyncSandbox, emulator: Emulator
) -> None:
    # The SDK adds five seconds to a timeout, so the wait is cut short by the caller.
    with anyio.move_on_after(0.5) as waited:
        await session.process.execute_session_command("s", SessionExecuteRequest(command="exit 7"))
    assert waited.cancelled_caught
    with pytest.raises(DaytonaInternalServerError, match="broken pipe"):
        await session.process.execute_session_command("s", SessionExecuteRequest(command="true"))


async def test_deleting_a_session_ends_all_that_was_started_in_it(session: AsyncSandbox) -> None:
    await run(session, "nohup sleep 600 >/dev/null 2>&1 & sleep 600")
    with anyio.fail_after(_WAIT_S):
        while (await session.process.exec("pgrep -c sleep")).result != "2\n":
            pass
    await session.process.delete_session("s")
    assert (await session.process.exec("pgrep -c sleep")).result == "0\n"
    assert await session.process.list_sessions() == []


async def test_sessions_are_lost_when_their_sandbox_stops(session: AsyncSandbox) -> None:
    await session.stop()
    await session.start()
    assert await session.process.list_sessions() == []


async def test_a_terminal_takes_input_and_sizes_and_tells_how_its_shell_ended(sandbox: AsyncSandbox) -> None:
    seen = bytearray()
    with anyio.fail_after(_WAIT_S):
        terminal = await sandbox.process.create_pty_session(
            "t", seen.extend, envs={"GREETING": "hello"}, pty_size=PtySize(rows=30, cols=100)
        )
        await terminal.send_input("echo $GREETING-there; stty size\n")
        await until(lambda: b"hello-there\r\n30 100" in seen)
        await terminal.resize(PtySize(rows=40, cols=120))
        await terminal.send_input("stty size; tty\n")
        await until(lambda: b"40 120" in seen)
        assert [each.id for each in await sandbox.process.list_pty_sessions()] == ["t"]
        await terminal.send_input("exit 5\n")
        ended = await terminal.wait()
    assert (ended.exit_code, ended.error) == (5, "non-zero exit")


async def test_an_older_daemon_cannot_make_and_connect_a_terminal_at_once(
    sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    emulator.settings(daemon="0.190")
    with pytest.raises(DaytonaNotFoundError):
        await sandbox.process.create_pty_session("t", lambda _: None)


async def test_a_terminal_can_be_killed(sandbox: AsyncSandbox) -> None:
    with anyio.fail_after(_WAIT_S):
        terminal = await sandbox.process.create_pty_session("t", lambda _: None)
        await terminal.kill()
        ended = await terminal.wait()
    assert ended.exit_code == 137
    with pytest.raises(DaytonaNotFoundError):
        await sandbox.process.get_pty_session_info("t")
