"""One failure at a time around a local sandbox, and two servers that share one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import WAIT_S, no_phase, until
from vaporform_mcp.errors import NotFound, NotSupported, SandboxLost, SandboxUnavailable
from vaporform_mcp.sandboxes.base import Command, FileWrite, RunState
from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.processes import running
from vaporform_mcp.sandboxes.local.provider import LocalProvider, open_local
from vaporform_mcp.sandboxes.local.registry import Known, end_sandbox, known_sandboxes
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.types import Network, Spec, WorkspacePath

FILE = WorkspacePath("file")

STARTED_WITH: dict[str, Level] = {"isolation": "namespaces"}
"""What every server of a test has, and its level of isolation above all: each test is run at each."""


@pytest.fixture(params=["namespaces", "restricted"], autouse=True)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Level:
    monkeypatch.setitem(STARTED_WITH, "isolation", request.param)
    return request.param


@asynccontextmanager
async def server(
    folder: Path, *, network: Network = "internet", linger_s: float = 10, file_mb: int = 8192
) -> AsyncGenerator[LocalProvider]:
    """A server, as far as a sandbox can tell."""
    config = LocalConfig(
        data_dir=folder,
        linger_s=linger_s,
        network=network,
        toolchains=("none",),
        file_mb=file_mb,
        isolation=STARTED_WITH["isolation"],
    )
    async with open_local(config) as provider:
        yield provider


@asynccontextmanager
async def sandbox_of(folder: Path) -> AsyncGenerator[LocalSandbox]:
    async with server(folder) as provider:
        yield await acquire(provider)
        with anyio.CancelScope(shield=True):
            await provider.destroy("ws", 1)


async def acquire(provider: LocalProvider) -> LocalSandbox:
    return await provider.acquire(Spec(provider="local"), "ws", 1, no_phase)


async def known(folder: Path) -> Known:
    (found,) = await known_sandboxes(folder)
    return found


async def kill_supervisor(folder: Path, number: signal.Signals = signal.SIGKILL) -> None:
    pid = (await known(folder)).pid
    assert pid is not None
    os.kill(pid, number)


def is_alive(pid: int) -> bool:
    return pid in running()


async def say(sandbox: LocalSandbox, text: str) -> str:
    return (await sandbox.exec(Command(text=text))).head.decode().strip()


async def test_a_killed_supervisor_loses_what_ran_and_starts_anew_over_the_same_files(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        sandbox = await acquire(provider)
        await sandbox.write_files([FileWrite(path=FILE, content=b"kept")])
        await sandbox.write_mark(b"mark")
        process = await sandbox.exec(Command(text="sleep 521"), wait_s=0)

        async def wait() -> None:
            assert (await sandbox.exec(Command(text="sleep 521"))).state is RunState.LOST

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await sandbox.exec(Command(text="true"))
            await kill_supervisor(tmp_path)
        with pytest.raises(SandboxLost):
            await sandbox.listening_ports()
        anew = await acquire(provider)
        assert await say(anew, "cat file; pgrep -fc '[s]leep 521'") == "kept0"
        assert await anew.read_mark() == b"mark"
        assert (await anew.process(process.process_id)).state is RunState.LOST
        await provider.destroy("ws", 1)


async def test_process_ids_are_never_given_twice(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        first = await (await acquire(provider)).exec(Command(text="exit 3"))
        await end_sandbox(tmp_path, "ws", 1)
        sandbox = await acquire(provider)
        second = await sandbox.exec(Command(text="exit 4"))
        assert second.process_id != first.process_id
        assert (await sandbox.process(second.process_id)).exit_code == 4
        assert [one.id for one in await sandbox.processes()] == [second.process_id]
        lost = await sandbox.stop(first.process_id)
        assert (lost.id, lost.state, lost.exit_code) == (first.process_id, RunState.LOST, None)
        assert (await sandbox.output(first.process_id, offset=5, limit=9)).data == b""
        with pytest.raises(NotFound):
            await sandbox.send_input(first.process_id, b"x")
        with pytest.raises(NotFound):
            await sandbox.process("3.1")
        await provider.destroy("ws", 1)


async def test_files_that_are_removed_from_the_host_are_a_lost_sandbox_without_a_mark(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        sandbox = await acquire(provider)
        await sandbox.write_mark(b"mark")
        await anyio.to_thread.run_sync(shutil.rmtree, layout.folder_of(tmp_path, "ws", 1).files)
        for call in (sandbox.scan, sandbox.read_mark, sandbox.processes):
            with pytest.raises(SandboxLost):
                await call()
        anew = await acquire(provider)
        assert (await anew.scan()).entries == []
        assert await anew.read_mark() is None
        await anew.write_files([FileWrite(path=FILE, content=b"new")])
        assert await say(anew, "cat file") == "new"
        await provider.destroy("ws", 1)


async def test_files_that_are_replaced_on_the_host_are_a_lost_sandbox_without_a_mark(tmp_path: Path) -> None:
    def replace() -> None:
        files = layout.folder_of(tmp_path, "ws", 1).files
        owner = files.stat()
        shutil.rmtree(files)
        files.mkdir(mode=0o700)
        os.chown(files, owner.st_uid, owner.st_gid)

    async with server(tmp_path) as provider:
        sandbox = await acquire(provider)
        await sandbox.write_files([FileWrite(path=FILE, content=b"old")])
        await sandbox.write_mark(b"mark")
        await anyio.to_thread.run_sync(replace)
        with pytest.raises(SandboxLost):
            await sandbox.exec(Command(text="true"))
        anew = await acquire(provider)
        assert await anew.read_mark() is None
        assert await say(anew, "ls; touch works; ls") == "works"
        await provider.destroy("ws", 1)


async def test_two_servers_share_one_sandbox_and_either_may_go(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        mine = await acquire(one)
        async with server(tmp_path) as other:
            theirs = await acquire(other)
            process = await theirs.exec(Command(text="read line; echo got $line", interactive=True), wait_s=0)
            assert (await known(tmp_path)).servers == 2
            assert [status.id for status in await mine.processes()] == [process.process_id]
        await mine.send_input(process.process_id, b"this\n")
        assert (await mine.wait(process.process_id, wait_s=WAIT_S)).exit_code == 0
        assert (await mine.output(process.process_id, offset=0, limit=100)).data == b"got this\n"
        await one.destroy("ws", 1)


async def test_what_a_server_waits_for_ends_with_it_and_what_it_left_goes_on(tmp_path: Path, level: Level) -> None:
    script = f"""
import anyio, pathlib
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.types import Spec
async def main():
    config = LocalConfig(
        data_dir=pathlib.Path({str(tmp_path)!r}), linger_s=10, toolchains=("none",), isolation={level!r}
    )
    async with open_local(config) as provider:
        sandbox = await provider.acquire(Spec(provider="local"), "ws", 1, lambda *_: None)
        await sandbox.exec(Command(text="sleep 522"), wait_s=0)
        await sandbox.exec(Command(text="touch ready; sleep 523"))
anyio.run(main)
"""
    async with server(tmp_path) as provider:
        sandbox = await acquire(provider)
        async with await anyio.open_process([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as child:

            async def ready() -> bool:
                return await sandbox.stat_files([WorkspacePath("ready")]) != [None]

            await until(ready)
            child.kill()
            await child.wait()

        async def only_the_background_is_left() -> bool:
            return await say(sandbox, "pgrep -fc '[s]leep 522'; pgrep -fc '[s]leep 523'") == "1\n0"

        await until(only_the_background_is_left)
        await provider.destroy("ws", 1)


async def test_many_servers_that_start_at_once_make_one_sandbox(tmp_path: Path) -> None:
    pids: set[int | None] = set()
    done = anyio.Semaphore(0)
    leave = anyio.Event()

    async def one() -> None:
        async with server(tmp_path) as provider:
            sandbox = await acquire(provider)
            await sandbox.exec(Command(text="echo x >> starts"))
            pids.add((await known(tmp_path)).pid)
            done.release()
            await leave.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(one)
        for _ in range(6):
            await done.acquire()
        assert (await known(tmp_path)).servers == 6
        leave.set()
    assert len(pids) == 1
    await end_sandbox(tmp_path, "ws", 1)


async def test_without_a_server_the_sandbox_ends_after_its_time_with_everything_in_it(tmp_path: Path) -> None:
    async with server(tmp_path, linger_s=0.3) as provider:
        await (await acquire(provider)).exec(Command(text="setsid sleep 524 & disown"))
        pid = (await known(tmp_path)).pid
        assert pid is not None

    async def gone() -> bool:
        return not is_alive(pid)

    await until(gone)
    assert (await known(tmp_path)).state == "stopped"


async def test_a_server_that_comes_back_in_time_finds_what_it_left(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        await (await acquire(provider)).exec(Command(text="sleep 525"), wait_s=0)
    async with server(tmp_path) as provider:
        (process,) = await (await acquire(provider)).processes()
        assert (process.command, process.state) == ("sleep 525", RunState.RUNNING)
        await provider.destroy("ws", 1)


async def test_stricter_limits_end_an_old_sandbox_that_nobody_uses(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        await (await acquire(provider)).exec(Command(text="sleep 526"), wait_s=0)
    async with server(tmp_path, file_mb=7) as provider:
        sandbox = await acquire(provider)
        assert await say(sandbox, "ulimit -f; pgrep -fc '[s]leep 526'") == f"{7 * 1024}\n0"
        await provider.destroy("ws", 1)


async def test_a_sandbox_that_another_server_uses_is_used_as_it_is(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        await acquire(one)
        pid = (await known(tmp_path)).pid
        async with server(tmp_path, file_mb=7) as other:
            await acquire(other)
            assert (await known(tmp_path)).pid == pid
        await one.destroy("ws", 1)


async def test_a_mere_change_of_tools_ends_no_process(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        await (await acquire(provider)).exec(Command(text="sleep 527"), wait_s=0)
    async with server(tmp_path, linger_s=11) as provider:
        assert len(await (await acquire(provider)).processes()) == 1
        await provider.destroy("ws", 1)


async def test_a_sandbox_without_network_has_no_way_out(tmp_path: Path) -> None:
    async with server(tmp_path, network="none") as provider:
        sandbox = await acquire(provider)
        assert await say(sandbox, "env | grep -ci proxy") == "0"
        assert await sandbox.listening_ports() == frozenset()
        with pytest.raises(NotSupported, match="more than"):
            await provider.acquire(Spec(provider="local", network="internet"), "other", 1, no_phase)
        await provider.destroy("ws", 1)


async def test_with_the_hosts_network_its_loopback_is_reached(tmp_path: Path) -> None:
    async with (
        server(tmp_path, network="host") as provider,
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
    ):
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  # no Django
        sandbox = await acquire(provider)
        assert await say(sandbox, f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached") == "reached"
        assert any("network" in gap for gap in (await sandbox.info()).gaps)
        await provider.destroy("ws", 1)


async def test_a_data_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sandboxes").symlink_to("/usr")
    async with server(tmp_path) as provider:
        with pytest.raises(SandboxUnavailable, match="folder") as caught:
            await acquire(provider)
    assert str(tmp_path) not in f"{caught.value} {caught.value.hint}"


async def test_a_data_folder_that_every_user_may_write_in_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    async with server(folder) as provider:
        with pytest.raises(SandboxUnavailable, match="folder"):
            await acquire(provider)
        folder.chmod(0o1777)  # as /tmp is: what is in it can be renamed by its owner only
        await acquire(provider)
        await provider.destroy("ws", 1)


async def test_a_long_data_folder_is_no_trouble(tmp_path: Path) -> None:
    async with sandbox_of(tmp_path / ("long-" * 30) / ("longer-" * 20)) as sandbox:
        assert await say(sandbox, "echo fine") == "fine"


async def test_leftovers_of_an_interrupted_removal_are_removed(tmp_path: Path) -> None:
    trash = tmp_path / "sandboxes/.trash-1"
    (trash / "files/a").mkdir(parents=True)
    async with server(tmp_path):

        async def gone() -> bool:
            return not trash.exists()

        await until(gone)


async def test_a_folder_with_stale_notes_is_no_trouble(tmp_path: Path) -> None:
    folder = layout.folder_of(tmp_path, "ws", 1)
    layout.create(folder)
    (folder.run / "s").write_text("no socket")
    folder.pid.write_text(f'{{"pid": {os.getpid()}, "started": 1, "boot": "x"}}')
    folder.starts.write_text("not a number")
    folder.mark.write_bytes(b"half a ma")
    async with sandbox_of(tmp_path) as sandbox:
        assert await say(sandbox, "echo fine") == "fine"
        assert await sandbox.read_mark() is None


async def test_a_mark_survives_a_write_that_was_interrupted(tmp_path: Path) -> None:
    async with sandbox_of(tmp_path) as sandbox:
        await sandbox.write_mark(b"old")
        (layout.folder_of(tmp_path, "ws", 1).root / ".mark-left").write_bytes(b"half")
        assert await sandbox.read_mark() == b"old"


async def test_nasty_files_are_destroyed_too(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        sandbox = await acquire(provider)
        text = "mkdir -p shut/in; touch shut/in/x; ln -s / root; mkfifo p; chmod 000 shut; chmod 000 . ~"
        await sandbox.exec(Command(text=text))
        await provider.destroy("ws", 1)
    assert list((tmp_path / "sandboxes").iterdir()) == []


@pytest.mark.long
async def test_a_supervisor_that_hangs_is_killed_for_whoever_comes_next(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        await (await acquire(provider)).write_files([FileWrite(path=FILE, content=b"kept")])
        await kill_supervisor(tmp_path, signal.SIGSTOP)
        async with server(tmp_path) as other:
            assert await say(await acquire(other), "cat file") == "kept"
            await other.destroy("ws", 1)


FLOOD = """
import os, signal
for _ in range(100):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        while True:
            try:
                os.kill(SUPERVISOR, signal.SIGCHLD)
            except PermissionError:
                pass
signal.pause()
"""


async def test_signals_without_end_keep_the_supervisor_from_no_deadline(tmp_path: Path) -> None:
    async with sandbox_of(tmp_path) as sandbox:
        number = "1" if sandbox.isolation == "namespaces" else str(sandbox.supervisor_pid)
        await sandbox.write_files([FileWrite(path=FILE, content=FLOOD.replace("SUPERVISOR", number).encode())])
        with anyio.fail_after(WAIT_S):
            flooded = await sandbox.exec(Command(text="python3 -I file", timeout_s=2))
            assert flooded.state is RunState.TIMED_OUT
            assert (await sandbox.exec(Command(text="echo next"))).head == b"next\n"


@pytest.mark.long
async def test_a_supervisor_that_hangs_is_destroyed(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        await acquire(provider)
        pid = (await known(tmp_path)).pid
        await kill_supervisor(tmp_path, signal.SIGSTOP)
        await provider.destroy("ws", 1)
    assert pid is not None
    assert not is_alive(pid)
    assert list((tmp_path / "sandboxes").iterdir()) == []


async def test_attaching_while_the_sandbox_is_about_to_end_never_fails(tmp_path: Path) -> None:
    for number in range(15):
        async with server(tmp_path, linger_s=0.01) as provider:
            assert await say(await acquire(provider), f"echo {number} >> log; wc -l < log") == str(number + 1)
    await end_sandbox(tmp_path, "ws", 1)


async def test_a_command_whose_listener_fails_does_not_go_on(tmp_path: Path) -> None:
    def fail(_: bytes) -> None:
        raise ZeroDivisionError

    async with sandbox_of(tmp_path) as sandbox:
        with pytest.raises(ZeroDivisionError):
            await sandbox.exec(Command(text="echo now; sleep 528"), on_output=fail)
        assert await say(sandbox, "pgrep -fc '[s]leep 528'") == "0"


async def test_a_spec_that_changes_its_network_gets_a_sandbox_with_that(tmp_path: Path) -> None:
    async with server(tmp_path) as provider:
        assert await say(await acquire(provider), "env | grep -ci proxy") != "0"
        closed = await provider.acquire(Spec(provider="local", network="none"), "ws", 1, no_phase)
        assert await say(closed, "env | grep -ci proxy") == "0"
        assert (await closed.info()).network == "none"
        await provider.destroy("ws", 1)


async def test_a_link_in_the_place_of_the_files_is_refused(tmp_path: Path) -> None:
    folder = layout.folder_of(tmp_path, "ws", 1)
    folder.root.mkdir(parents=True)
    folder.files.symlink_to(tmp_path)
    async with server(tmp_path) as provider:
        with pytest.raises(SandboxUnavailable, match="link"):
            await acquire(provider)


async def test_sandboxes_are_known_with_their_state(tmp_path: Path) -> None:
    assert await known_sandboxes(tmp_path / "nothing") == []
    async with server(tmp_path) as provider:
        await (await acquire(provider)).exec(Command(text="sleep 529"), wait_s=0)
        running = await known(tmp_path)
        assert (running.workspace_id, running.epoch, running.state) == ("ws", 1, "running")
        assert (running.servers, running.processes) == (1, 1)
        await end_sandbox(tmp_path, "ws", 1)
        stopped = await known(tmp_path)
        assert (stopped.state, stopped.pid, stopped.servers) == ("stopped", None, 0)
        await end_sandbox(tmp_path, "ws", 1)
        await end_sandbox(tmp_path, "never-was", 1)
        await provider.destroy("ws", 1)
    assert await known_sandboxes(tmp_path) == []
