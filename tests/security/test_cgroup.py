"""The limits of a sandbox as a whole, where a cgroup is delegated to whoever runs the tests."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import no_phase, until
from vaporform_mcp.sandboxes.base import Command, RunState
from vaporform_mcp.sandboxes.local import cgroups
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.launch import interpreter
from vaporform_mcp.sandboxes.local.provider import LocalProvider, open_local
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.types import Spec

MEMORY_MB = 192
PROCESSES = 60

# Each has what the limit for one process allows; together they want more than the sandbox may have.
EATERS = """
import os, signal
living = set()
for _ in range(4):
    child = os.fork()
    if child == 0:
        eaten = bytearray(b"x") * (100 << 20)
        signal.pause()
    living.add(child)
for _ in range(3):
    child, status = os.wait()
    living.remove(child)
    print(os.waitstatus_to_exitcode(status))
for child in living:
    os.kill(child, 9)
"""
CROWD = """
import os, signal
made = []
try:
    while len(made) < 200:
        child = os.fork()
        if child == 0:
            signal.pause()
        made.append(child)
except OSError:
    pass
print(len(made))
for child in made:
    os.kill(child, 9)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A sandbox, and the folder of its cgroup."""

    provider: LocalProvider
    sandbox: LocalSandbox
    cgroup: Path

    def numbers(self, name: str) -> set[int]:
        return {int(line) for line in (self.cgroup / name).read_text().split()}


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    config = LocalConfig(
        data_dir=tmp_path,
        network="none",
        linger_s=5,
        toolchains=("none",),
        memory_mb=MEMORY_MB,
        processes=PROCESSES,
        host_environment={"PATH": os.environ.get("PATH", "")},
    )
    tried = cgroups.make("test", config)
    if tried is None:
        pytest.skip("no cgroup v2 with the controllers memory and pids is delegated here, so none is made")
    tried.remove()
    async with open_local(config) as provider:
        sandbox = await provider.acquire(Spec(provider="local"), "ws", 1, no_phase)
        lines = await anyio.Path(f"/proc/{sandbox.supervisor_pid}/cgroup").read_text()
        yield Opened(provider=provider, sandbox=sandbox, cgroup=tried.path.parent / lines.strip().rpartition("/")[2])
        with anyio.CancelScope(shield=True):
            await provider.destroy("ws", 1)


async def run(opened: Opened, program: str) -> str:
    python = interpreter(None)
    line = shlex.join([python.path, "-I", "-S", "-c", program])
    result = await opened.sandbox.exec(Command(text=line, env=python.environment, timeout_s=50))
    assert result.state is RunState.EXITED, result
    return result.head.decode().strip()


async def test_everything_of_a_sandbox_is_in_its_cgroup_and_sees_nothing_of_it(opened: Opened) -> None:
    assert opened.cgroup.name.startswith("vaporform-sandbox-ws-1-")
    assert opened.sandbox.supervisor_pid in opened.numbers("cgroup.procs")
    before = opened.numbers("cgroup.procs")
    await opened.sandbox.exec(Command(text="exec sleep 300"), wait_s=0)
    assert opened.numbers("cgroup.procs") > before
    seen = await opened.sandbox.exec(Command(text="grep ^0: /proc/self/cgroup; ls -d /sys"))
    assert seen.head.splitlines()[0] == b"0::/"
    assert b"cannot access" in seen.head


async def test_memory_is_limited_for_all_processes_together(opened: Opened) -> None:
    assert opened.numbers("memory.max") == {MEMORY_MB << 20}
    with suppress(OSError):  # a machine with swap would slow down instead
        (opened.cgroup / "memory.swap.max").write_text("0")
    assert await run(opened, EATERS) == "-9\n-9\n-9"
    assert (await opened.sandbox.exec(Command(text="echo alive"))).head == b"alive\n"


async def test_processes_are_limited_for_all_commands_together(opened: Opened) -> None:
    assert min(opened.numbers("pids.max")) > PROCESSES
    # Below the limit that each command has of its own, so that it is this one which is met.
    (opened.cgroup / "pids.max").write_text("30")
    assert 0 < int(await run(opened, CROWD)) < 30
    assert (await opened.sandbox.exec(Command(text="echo alive"))).head == b"alive\n"


async def test_what_is_not_isolated_no_longer_names_memory(opened: Opened) -> None:
    assert not [gap for gap in (await opened.sandbox.info()).gaps if "memory" in gap]


async def test_a_destroyed_sandboxs_cgroup_is_gone(opened: Opened) -> None:
    await opened.provider.destroy("ws", 1)

    async def gone() -> bool:
        return not await anyio.Path(opened.cgroup).exists()

    await until(gone)
