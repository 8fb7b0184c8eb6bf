"""What is particular to the restricted level: the machine's own paths and ports, and how the level is chosen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.contract.network import Origin, free_port, serving
from tests.contract.sandboxes import WAIT_S, no_phase, until
from vaporform_mcp.errors import Conflict, NotFound, SandboxLost
from vaporform_mcp.sandboxes.base import Command, RunState
from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.processes import running
from vaporform_mcp.sandboxes.local.provider import LocalProvider, open_local
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.types import Spec

DETACHED = """
setsid sh -c 'sleep 431 & sleep 431' & env -i setsid sleep 431 &
python3 -c 'import os, time; os.setsid(); os.fork() and os._exit(0); time.sleep(431)' & sleep 0.5"""
DENYING = Path(__file__).parents[1] / "security" / "denying.py"


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[LocalProvider]:
    config = LocalConfig(
        data_dir=tmp_path,
        isolation="restricted",
        linger_s=10,
        toolchains=("none",),
        host_environment={"PATH": "/usr/bin:/bin"},
    )
    async with open_local(config) as opened:
        yield opened
        with anyio.CancelScope(shield=True):
            await opened.destroy("ws", 1)
            await opened.destroy("other", 1)


async def acquire(provider: LocalProvider, name: str = "ws") -> LocalSandbox:
    return await provider.acquire(Spec(provider="local"), name, 1, no_phase)


async def serve(sandbox: LocalSandbox, port: int) -> None:
    await sandbox.exec(Command(text=f"python3 -m http.server --bind 127.0.0.1 {port}"), wait_s=WAIT_S, until_port=True)
    assert port in await sandbox.listening_ports()


async def test_a_preview_is_the_port_itself_and_another_programs_is_refused(provider: LocalProvider) -> None:
    sandbox, port = await acquire(provider), free_port()
    before = await sandbox.preview(port)
    await serve(sandbox, port)
    assert (await sandbox.preview(port, preferred=port + 1)).url == before.url == f"http://127.0.0.1:{port}"
    async with serving(Origin()) as taken:
        with pytest.raises(Conflict, match=f"port {taken} is used by another program"):
            await sandbox.preview(taken)
        assert taken not in await sandbox.listening_ports()
        with pytest.raises(NotFound):
            await sandbox.connect(taken)


async def test_workspaces_neither_reach_nor_are_given_one_anothers_ports(provider: LocalProvider) -> None:
    one, other, port = await acquire(provider), await acquire(provider, "other"), free_port()
    await serve(one, port)
    with pytest.raises(Conflict):
        await other.preview(port)
    tried = await other.exec(Command(text=f"exec 3<>/dev/tcp/127.0.0.1/{port}", timeout_s=WAIT_S))
    assert tried.exit_code != 0
    assert b"refused" in tried.head
    taken = await other.exec(Command(text=f"python3 -m http.server --bind 127.0.0.1 {port}", timeout_s=WAIT_S))
    assert b"Address already in use" in taken.head + taken.tail


async def test_a_port_of_this_machine_that_a_person_opened_is_reached_and_no_other(tmp_path: Path) -> None:
    async with serving(Origin()) as opened, serving(Origin()) as other:
        config = LocalConfig(
            data_dir=tmp_path, isolation="restricted", toolchains=("none",), egress_private=(f"127.0.0.1:{opened}",)
        )
        async with open_local(config) as provider:
            sandbox = await acquire(provider)
            tried = [
                await sandbox.exec(Command(text=f"exec 3<>/dev/tcp/127.0.0.1/{port}", timeout_s=WAIT_S))
                for port in (opened, other)
            ]
            await provider.destroy("ws", 1)
    assert [each.exit_code for each in tried] == [0, 1]
    assert b"refused" in tried[1].head


async def test_the_proxy_is_reached_at_the_port_that_the_environment_names(provider: LocalProvider) -> None:
    sandbox = await acquire(provider)
    fetch = "python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=9).read())'"
    refused = await sandbox.exec(Command(text=f"{fetch} http://169.254.169.254/", timeout_s=WAIT_S))
    assert b"403" in refused.head + refused.tail
    assert any("169.254.169.254" in note for note in refused.notes)
    anew = await acquire(provider)
    names = "echo $HTTP_PROXY; env | grep -c 3128"
    assert (await anew.exec(Command(text=names))).head.split()[-1] == b"0"


async def test_a_command_that_names_folders_of_other_sandboxes_is_told_of_its_own(provider: LocalProvider) -> None:
    sandbox = await acquire(provider)
    failed = await sandbox.exec(Command(text="cd /workspace && ls /tmp/x"))
    assert ["/workspace" in note for note in failed.notes] == [True, False]
    assert "$TMPDIR" in failed.notes[1]
    assert (await sandbox.exec(Command(text="true || cat /workspace/x"))).notes == ()
    assert (await sandbox.exec(Command(text="cat a/workspace"))).notes == ()


async def test_without_its_temporary_folder_a_sandbox_goes_on_and_has_it_again_at_the_next_start(
    provider: LocalProvider, tmp_path: Path
) -> None:
    sandbox = await acquire(provider)
    gone = await sandbox.exec(Command(text="echo x > $TMPDIR/left; chmod -R 0 $TMPDIR; rm -rf $TMPDIR; seq 300000"))
    assert (gone.state, gone.exit_code) == (RunState.EXITED, 0)
    assert (await sandbox.exec(Command(text="seq 300000 | tail -n 1"))).head == b"300000\n"
    os.kill(sandbox.supervisor_pid, signal.SIGKILL)
    folder = layout.folder_of(tmp_path, "ws", 1)

    async def works() -> bool:
        try:
            anew = await acquire(provider)
            return (await anew.exec(Command(text="ls -A $TMPDIR; mktemp >/dev/null && echo made"))).head == b"made\n"
        except SandboxLost:  # not yet noticed
            return False

    await until(works)
    assert folder.tmp.is_dir()


async def test_nothing_is_left_of_a_sandbox_whose_supervisor_was_killed(provider: LocalProvider) -> None:
    sandbox = await provider.acquire(Spec(provider="local"), "ws", 1, no_phase)
    await sandbox.exec(Command(text=DETACHED))
    below = {pid for pid in running() if sandbox.supervisor_pid in line(pid)}
    assert len(below) >= 5
    os.kill(sandbox.supervisor_pid, signal.SIGKILL)

    async def gone() -> bool:
        return not below & running().keys()

    await until(gone)


def line(pid: int) -> list[int]:
    """The processes above it."""
    known, found = running(), list[int]()
    while pid in known and pid > 1:
        found.append(pid)
        pid = known[pid].parent
    return found


PROGRAM = """
import os, sys
from pathlib import Path
import anyio
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.types import Spec

async def main():
    config = LocalConfig(data_dir=Path(sys.argv[1]), linger_s=10, toolchains=("none",), network="none")
    for number in range(2):
        async with open_local(config) as provider:
            sandbox = await provider.acquire(Spec(provider="local"), "ws", 1, lambda *_: None)
            if number == 0:
                await sandbox.exec(Command(text="exec sleep 432"), wait_s=0)
            (process,) = await sandbox.processes()
            info = await sandbox.info()
            print(sandbox.isolation, (await provider.describe()).isolation, process.command, process.state.value)
            print(info.reason)
            if number == 1:
                await provider.destroy("ws", 1)
    print(os.listdir(Path(sys.argv[1], "sandboxes")))

anyio.run(main)
"""


@pytest.mark.root
def test_where_processes_are_hidden_nothing_runs_and_the_mend_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, DENYING, "hidden", sys.executable, "-c", PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode != 0
    assert "hidepid" in done.stderr
    assert done.stdout == ""


def test_where_namespaces_are_denied_a_server_that_comes_back_ends_nothing_to_find_that_out(tmp_path: Path) -> None:
    how = "container" if os.geteuid() == 0 else "user"
    done = subprocess.run(
        [sys.executable, DENYING, how, sys.executable, "-c", PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    first = "restricted restricted exec sleep 432 running"
    reason = "this system does not let ordinary programs make namespaces, which isolate commands"
    assert done.stdout.splitlines() == [first, reason, first, reason, "[]"]
