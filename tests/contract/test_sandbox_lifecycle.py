"""What every provider promises about the life of a sandbox, and about its mark."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import PROVIDERS, no_phase, open_provider, until
from vaporform_mcp.errors import InvalidArgument, NotSupported, SandboxLost
from vaporform_mcp.sandboxes.base import Command, CommandResult, FileWrite, Provider, RunState, Sandbox
from vaporform_mcp.types import Phase, Spec, WorkspacePath


@pytest.fixture(params=PROVIDERS)
async def provider(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Provider]:
    async with open_provider(request.param, tmp_path) as opened:
        yield opened
        with anyio.CancelScope(shield=True):
            for epoch in (1, 2):
                await opened.destroy("ws", epoch)


async def acquire(provider: Provider, epoch: int = 1) -> Sandbox:
    return await provider.acquire(Spec(provider=provider.name), "ws", epoch, no_phase)


async def test_a_sandbox_says_whose_it_is(provider: Provider) -> None:
    sandbox = await acquire(provider)
    assert (sandbox.workspace_id, sandbox.epoch) == ("ws", 1)
    assert sandbox.sandbox_id


async def test_acquiring_again_gives_the_same_live_sandbox(provider: Provider) -> None:
    one = await acquire(provider)
    await one.exec(Command(text="sleep 421 & echo > file"))
    other = await acquire(provider)
    result = await other.exec(Command(text="ls; pgrep -fc '[s]leep 421'"))
    assert (other.sandbox_id, result.head) == (one.sandbox_id, b"file\n1\n")


async def test_those_who_acquire_at_once_get_one_sandbox(provider: Provider) -> None:
    found: list[str] = []

    async def one() -> None:
        sandbox = await acquire(provider)
        found.append(
            (await sandbox.exec(Command(text="cat /proc/sys/kernel/random/boot_id; stat -c %i $TMPDIR"))).head.decode()
        )

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)
    assert len(found) == 5
    assert len(set(found)) == 1


async def test_phases_are_told_in_order_with_what_is_done(provider: Provider) -> None:
    told: list[tuple[Phase, float]] = []
    await provider.acquire(Spec(provider=provider.name), "ws", 1, lambda phase, percent: told.append((phase, percent)))
    assert told
    assert [phase for phase, _ in told] == sorted((phase for phase, _ in told), key=list(Phase).index)
    assert all(0 <= percent <= 100 for _, percent in told)


async def test_an_aborted_acquire_does_not_stand_in_the_way_of_the_next(provider: Provider) -> None:
    with anyio.move_on_after(0.02):
        await acquire(provider)
    sandbox = await acquire(provider)
    assert (await sandbox.exec(Command(text="echo fine"))).head == b"fine\n"


async def test_a_destroyed_sandbox_is_lost_with_its_files(provider: Provider) -> None:
    sandbox = await acquire(provider)
    await sandbox.write_files([FileWrite(path=WorkspacePath("file"), content=b"x")])
    await sandbox.write_mark(b"mark")
    await provider.destroy("ws", 1)
    with pytest.raises(SandboxLost):
        await sandbox.exec(Command(text="true"))
    with pytest.raises(SandboxLost):
        await sandbox.scan()
    with pytest.raises(SandboxLost):
        await sandbox.read_mark()
    anew = await acquire(provider)
    assert (await anew.scan()).entries == []
    assert await anew.read_mark() is None


async def test_a_command_that_runs_while_its_sandbox_is_destroyed_is_lost(provider: Provider) -> None:
    sandbox = await acquire(provider)
    results: list[CommandResult] = []

    async def begun() -> bool:
        return await sandbox.stat_files([WorkspacePath("begun")]) != [None]

    async def run() -> None:
        results.append(await sandbox.exec(Command(text="touch begun; sleep 422")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(begun)
        await provider.destroy("ws", 1)
    # A result and no error: how far it got nobody can tell, so nobody must repeat it.
    assert [(result.state, result.exit_code) for result in results] == [(RunState.LOST, None)]


async def test_destroying_what_is_not_there_is_no_error(provider: Provider) -> None:
    await provider.destroy("ws", 1)
    await acquire(provider)
    await provider.destroy("ws", 1)
    await provider.destroy("ws", 1)


async def test_epochs_are_apart(provider: Provider) -> None:
    old = await acquire(provider, 1)
    new = await acquire(provider, 2)
    await old.write_files([FileWrite(path=WorkspacePath("old"), content=b"")])
    assert (await new.scan()).entries == []
    await provider.destroy("ws", 1)
    assert (await new.exec(Command(text="echo here"))).state is RunState.EXITED


async def test_the_mark_is_what_was_written_last(provider: Provider) -> None:
    sandbox = await acquire(provider)
    assert await sandbox.read_mark() is None
    await sandbox.write_mark(b"one")
    tag = await sandbox.write_mark(b"two\n\0" * 100_000)
    assert await sandbox.mark_tag() == tag
    assert await sandbox.read_mark() == b"two\n\0" * 100_000
    await sandbox.clear_mark()
    await sandbox.clear_mark()
    assert await sandbox.read_mark() is None


async def test_commands_cannot_find_the_mark(provider: Provider) -> None:
    sandbox = await acquire(provider)
    await sandbox.write_mark(b"a-mark-to-be-found")
    result = await sandbox.exec(Command(text="grep -rls a-mark-to-be-found . ~ $TMPDIR /home /tmp /run /var /etc"))
    assert result.head == b""
    assert (await sandbox.scan()).entries == []


async def test_the_handle_can_be_let_go_of_and_the_sandbox_goes_on(provider: Provider) -> None:
    sandbox = await acquire(provider)
    sleep = f"sleep 423.{secrets.randbelow(1_000_000):06}"  # a restricted sandbox sees what runs in others
    await sandbox.exec(Command(text=f"{sleep} & echo > file"))
    await sandbox.aclose()
    await sandbox.aclose()
    result = await (await acquire(provider)).exec(Command(text=f"ls; pgrep -fc '[s]{sleep[1:]}'"))
    assert result.head == b"file\n1\n"


async def test_a_sandbox_tells_what_it_is_and_what_it_has(provider: Provider) -> None:
    info = await (await acquire(provider)).info()
    assert info.isolation
    assert info.network in {"internet", "none", "host"}
    assert "python3" in info.toolchains
    described = await provider.describe()
    assert (described.name, described.isolation) == (provider.name, info.isolation)


async def test_a_workspace_id_that_is_none_is_refused(provider: Provider) -> None:
    for bad in ("", "../x", "a/b", "a" * 100, ".", "-", "a\n"):
        with pytest.raises(InvalidArgument):
            await provider.acquire(Spec(provider=provider.name), bad, 1, no_phase)


async def test_what_the_provider_does_not_have_is_refused_by_name(provider: Provider) -> None:
    if provider.name != "local":
        pytest.skip("it has images and snapshots")
    for spec in (Spec(provider="local", image="debian"), Spec(provider="local", snapshot="warm")):
        with pytest.raises(NotSupported, match=r"image|snapshot"):
            await provider.acquire(spec, "ws", 1, no_phase)
