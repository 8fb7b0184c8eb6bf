"""What every sandbox promises about commands and processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from tests.contract.sandboxes import PROVIDERS, WAIT_S, open_sandbox, until
from vaporform_mcp.errors import InvalidArgument, NotADirectory, NotFound, NotSupported
from vaporform_mcp.sandboxes.base import Command, FileWrite, RunState, Sandbox, TerminalSize
from vaporform_mcp.types import parse_path


@pytest.fixture(params=PROVIDERS)
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with open_sandbox(request.param, tmp_path) as opened:
        yield opened


async def say(sandbox: Sandbox, text: str) -> str:
    result = await sandbox.exec(Command(text=text, timeout_s=WAIT_S))
    assert result.state is RunState.EXITED, result
    return (result.head + result.tail).decode().strip()


async def test_a_command_answers_with_its_exit_code_and_output(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="echo out; echo err >&2; exit 3"))
    assert (result.state, result.exit_code) == (RunState.EXITED, 3)
    assert result.head + result.tail == b"out\nerr\n"
    assert result.omitted_bytes == 0
    assert result.output_file is None


async def test_a_command_starts_in_the_workspace(sandbox: Sandbox) -> None:
    await sandbox.write_files([FileWrite(path=parse_path("only-here"), content=b"")])
    assert await say(sandbox, 'ls; [ "$PWD" = "$(pwd -P)" ] && echo without a link') == "only-here\nwithout a link"


async def test_the_workspace_is_called_workspace_wherever_it_lies(sandbox: Sandbox) -> None:
    await sandbox.write_files([FileWrite(path=parse_path("a/b.txt"), content=b"")])
    for cwd, seen in (("/workspace", b"a\n"), ("/workspace/", b"a\n"), ("/workspace/a", b"b.txt\n")):
        assert (await sandbox.exec(Command(text="ls", cwd=cwd))).head == seen
    with pytest.raises(NotFound):
        await sandbox.exec(Command(text="ls", cwd="/workspaces"))


async def test_a_relative_cwd_is_one_of_the_workspace(sandbox: Sandbox) -> None:
    await sandbox.write_files([FileWrite(path=parse_path("a/b/c.txt"), content=b"")])
    result = await sandbox.exec(Command(text="pwd; ls", cwd="a/b"))
    assert result.head.endswith(b"/a/b\nc.txt\n")


async def test_a_cwd_that_does_not_exist_is_not_found(sandbox: Sandbox) -> None:
    with pytest.raises(NotFound):
        await sandbox.exec(Command(text="pwd", cwd="nowhere"))


async def test_a_cwd_that_is_a_file_is_not_a_directory(sandbox: Sandbox) -> None:
    await sandbox.write_files([FileWrite(path=parse_path("file"), content=b"")])
    with pytest.raises(NotADirectory):
        await sandbox.exec(Command(text="pwd", cwd="file"))


async def test_env_is_added_to_what_commands_get_anyway(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text='echo "$GREETING $HOME"', env={"GREETING": "hello"}))
    assert result.head.startswith(b"hello /")


async def test_stdin_is_given_whole_and_then_closed(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="wc -c", stdin=b"x" * 300_000))
    assert result.head.split() == [b"300000"]


async def test_without_stdin_a_command_that_reads_meets_its_end(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="cat", timeout_s=WAIT_S))
    assert (result.state, result.head) == (RunState.EXITED, b"")


async def test_death_by_a_signal_that_nobody_here_sent_is_an_exit_of_128_and_more(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="kill -SEGV $$"))
    assert (result.state, result.exit_code) == (RunState.EXITED, 128 + 11)


async def test_at_its_deadline_the_whole_tree_of_a_command_dies(sandbox: Sandbox) -> None:
    text = "(setsid sh -c 'exec sleep 321' &) ; (env -i sleep 321 &); trap '' TERM HUP; sleep 321"
    result = await sandbox.exec(Command(text=text, timeout_s=0.5))
    assert (result.state, result.exit_code) == (RunState.TIMED_OUT, None)
    assert await say(sandbox, "pgrep -fc '[s]leep 321' || true") == "0"


async def test_a_cancelled_command_dies_with_its_whole_tree(sandbox: Sandbox) -> None:
    with anyio.move_on_after(0.5) as scope:
        await sandbox.exec(Command(text="(setsid sleep 322 &); sleep 322"))
    assert scope.cancelled_caught
    assert await say(sandbox, "pgrep -fc '[s]leep 322' || true") == "0"


async def test_a_background_child_neither_delays_the_answer_nor_ends_with_it(sandbox: Sandbox) -> None:
    with anyio.fail_after(WAIT_S):
        result = await sandbox.exec(Command(text="sleep 323 & echo started"))
    assert (result.state, result.head) == (RunState.EXITED, b"started\n")
    assert await say(sandbox, "pgrep -fc '[s]leep 323' || true") == "1"


async def test_after_the_wait_the_command_goes_on(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="echo first; read line; echo $line", interactive=True), wait_s=0.5)
    assert (result.state, result.exit_code, result.head) == (RunState.RUNNING, None, b"first\n")
    await sandbox.send_input(result.process_id, b"second\n")
    ended = await sandbox.wait(result.process_id, wait_s=WAIT_S)
    assert (ended.state, ended.exit_code) == (RunState.EXITED, 0)
    chunk = await sandbox.output(result.process_id, offset=0, limit=1000)
    assert (chunk.data, chunk.next_offset, chunk.omitted_bytes) == (b"first\nsecond\n", 13, 0)


async def test_a_wait_of_nothing_answers_at_once(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="sleep 324"), wait_s=0)
    assert result.state is RunState.RUNNING
    status = await sandbox.process(result.process_id)
    assert (status.command, status.state) == ("sleep 324", RunState.RUNNING)
    assert result.process_id in [one.id for one in await sandbox.processes()]


async def test_a_wait_ends_when_something_was_printed(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="read line; echo $line; sleep 325", interactive=True), wait_s=0)
    await sandbox.send_input(result.process_id, b"here\n")
    status = await sandbox.wait(result.process_id, wait_s=WAIT_S, offset=0)
    assert (status.state, status.output_bytes) == (RunState.RUNNING, 5)


async def test_output_from_its_end_is_nothing(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="printf abcdef"))
    chunk = await sandbox.output(result.process_id, offset=4, limit=100)
    assert (chunk.data, chunk.offset, chunk.next_offset) == (b"ef", 4, 6)
    assert (await sandbox.output(result.process_id, offset=6, limit=100)).data == b""
    assert (await sandbox.output(result.process_id, offset=0, limit=2)).data == b"ab"


async def test_long_output_is_answered_by_head_and_tail_with_the_middle_counted(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="seq 1 200000"))
    whole = b"".join(b"%d\n" % number for number in range(1, 200_001))
    assert whole.startswith(result.head)
    assert whole.endswith(result.tail)
    assert len(result.head) + len(result.tail) + result.omitted_bytes == len(whole)
    assert result.output_file is not None
    assert not result.output_file.startswith(await say(sandbox, "pwd") + "/")
    assert await say(sandbox, f"wc -c < {result.output_file}") == str(len(whole))


async def test_stdout_and_stderr_are_kept_apart_where_that_is_asked(sandbox: Sandbox) -> None:
    said: list[bytes] = []
    text = "echo out; echo err >&2; sleep 0.2; echo more; seq 1 100000 >&2; exit 3"
    result = await sandbox.exec(Command(text=text, apart=True, timeout_s=WAIT_S), on_output=said.append)
    whole = b"err\n" + b"".join(b"%d\n" % number for number in range(1, 100_001))
    assert (result.exit_code, result.head + result.tail, result.omitted_bytes) == (3, b"out\nmore\n", 0)
    assert b"".join(said) == b"out\nmore\n"
    stderr = result.stderr
    assert stderr is not None
    assert whole.startswith(stderr.head)
    assert whole.endswith(stderr.tail)
    assert len(stderr.head) + stderr.omitted_bytes + len(stderr.tail) == len(whole)
    assert len(stderr.head) + len(stderr.tail) < 100_000
    together = await sandbox.exec(Command(text="echo out; echo err >&2"))
    assert (together.head, together.stderr) == (b"out\nerr\n", None)
    with pytest.raises(InvalidArgument):
        await sandbox.exec(Command(text="true", apart=True, terminal=TerminalSize()))


async def test_output_is_given_while_it_is_printed(sandbox: Sandbox) -> None:
    said: list[bytes] = []
    async with anyio.create_task_group() as tasks:
        printed = anyio.Event()

        def on_output(data: bytes) -> None:
            said.append(data)
            printed.set()

        async def run() -> None:
            await sandbox.exec(Command(text="echo one; sleep 326"), on_output=on_output)

        tasks.start_soon(run)
        with anyio.fail_after(WAIT_S):
            await printed.wait()
        tasks.cancel_scope.cancel()
    assert b"".join(said) == b"one\n"


async def test_a_stopped_process_is_killed_with_its_tree(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="trap '' TERM; sleep 327; sleep 327"), wait_s=0)
    status = await sandbox.stop(result.process_id, grace_s=0.2)
    assert (status.state, status.exit_code) == (RunState.KILLED, None)
    assert await say(sandbox, "pgrep -fc '[s]leep 327' || true") == "0"


async def test_stopping_what_has_ended_answers_how_it_ended(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="exit 7"))
    status = await sandbox.stop(result.process_id)
    assert (status.state, status.exit_code) == (RunState.EXITED, 7)


async def test_a_process_that_never_was_is_not_found(sandbox: Sandbox) -> None:
    for process_id in ("4711", "no-such", "", "9.1", "0"):
        with pytest.raises(NotFound):
            await sandbox.process(process_id)


async def test_input_for_a_closed_stdin_is_not_supported(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="sleep 328"), wait_s=0)
    with pytest.raises(NotSupported):
        await sandbox.send_input(result.process_id, b"x")


async def test_input_for_an_ended_process_is_not_found(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="true", interactive=True), wait_s=WAIT_S)
    with pytest.raises(NotFound):
        await sandbox.send_input(result.process_id, b"x")


async def test_the_end_of_input_can_be_sent(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="cat; echo done", interactive=True), wait_s=0)
    await sandbox.send_input(result.process_id, b"last\n", eof=True)
    assert (await sandbox.wait(result.process_id, wait_s=WAIT_S)).state is RunState.EXITED
    assert (await sandbox.output(result.process_id, offset=0, limit=100)).data == b"last\ndone\n"


async def test_many_commands_run_at_once(sandbox: Sandbox) -> None:
    answers: set[bytes] = set()

    async def run(number: int) -> None:
        answers.add((await sandbox.exec(Command(text=f"echo {number}"))).head)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(run, number)
    assert answers == {b"%d\n" % number for number in range(20)}


SERVER = "python3 -m http.server --bind 127.0.0.1 {port}"


async def test_a_command_is_answered_when_a_port_of_it_listens(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text=SERVER.format(port=8123)), wait_s=WAIT_S, until_port=True)
    assert (result.state, result.ports) == (RunState.RUNNING, frozenset({8123}))
    assert await sandbox.listening_ports() == frozenset({8123})
    activity = await sandbox.activity()
    assert (activity.ports, activity.processes[-1].id) == (frozenset({8123}), result.process_id)


async def test_a_connection_reaches_a_port_inside(sandbox: Sandbox) -> None:
    await sandbox.exec(Command(text=SERVER.format(port=8124)), wait_s=WAIT_S, until_port=True)
    async with await sandbox.connect(8124) as stream:
        await stream.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.0 200")


async def test_where_nothing_listens_nothing_can_be_connected_to(sandbox: Sandbox) -> None:
    with pytest.raises(NotFound):
        await sandbox.connect(8125)
    with pytest.raises(NotFound):
        await sandbox.first_line(8125, b"GET / HTTP/1.0\r\n\r\n", within_s=WAIT_S)


async def test_a_port_is_asked_for_the_first_line_of_its_answer(sandbox: Sandbox) -> None:
    await sandbox.exec(Command(text=SERVER.format(port=8128)), wait_s=WAIT_S, until_port=True)
    line = await sandbox.first_line(8128, b"GET / HTTP/1.0\r\n\r\n", within_s=WAIT_S)
    assert line.startswith(b"HTTP/1.0 200 OK\r\n")


async def test_a_port_that_is_closed_no_longer_listens(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text=SERVER.format(port=8126)), wait_s=WAIT_S, until_port=True)
    await sandbox.stop(result.process_id)

    async def nothing_listens() -> bool:
        return not await sandbox.listening_ports()

    await until(nothing_listens)


async def test_a_preview_leads_to_the_port_and_stays_the_same(sandbox: Sandbox) -> None:
    preview = await sandbox.preview(8127)
    await sandbox.exec(Command(text=SERVER.format(port=8127)), wait_s=WAIT_S, until_port=True)
    assert await sandbox.preview(8127) == preview
    assert preview.port == 8127
    url = urlsplit(preview.url)
    assert url.hostname is not None
    async with await anyio.connect_tcp(url.hostname, url.port or 80) as stream:
        await stream.send(f"GET {url.path or '/'} HTTP/1.0\r\nHost: {url.netloc}\r\n\r\n".encode())
        assert (await stream.receive()).startswith(b"HTTP/1.0 200")


async def test_what_is_no_port_is_refused(sandbox: Sandbox) -> None:
    for port in (0, -1, 65536):
        with pytest.raises(InvalidArgument):
            await sandbox.preview(port)
        with pytest.raises(InvalidArgument):
            await sandbox.connect(port)
