"""Each provider as the contract's tests open it."""

from __future__ import annotations

import atexit
import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import anyio

from tests.emulators.daytona.emulator import Emulator, start_emulator
from vaporform_mcp.sandboxes.base import Command, Provider, RunState, Sandbox
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.types import Phase, Spec

PROVIDERS = ("local", "local-restricted", "daytona")
WAIT_S = 20.0


@asynccontextmanager
async def open_provider(name: str, folder: Path) -> AsyncGenerator[Provider]:
    """`local-restricted` is the local provider at the level that needs no namespaces, `daytona` the
    Daytona provider on an emulator of the service.
    """
    if name == "daytona":
        from vaporform_mcp.sandboxes.daytona.provider import open_daytona

        async with open_daytona(daytona_config(store_id=folder.name)) as daytona:
            yield daytona
        return
    level: Level = "restricted" if name == "local-restricted" else "namespaces"
    config = LocalConfig(
        data_dir=folder, isolation=level, linger_s=20, host_environment={"PATH": os.environ.get("PATH", "")}
    )
    async with open_local(config) as provider:
        yield provider


@cache
def emulator() -> Emulator:
    """One for all tests of this process: it takes seconds to start, and what a test makes there it deletes."""
    started = start_emulator()
    atexit.register(started.stop)
    return started


def daytona_config(*, store_id: str) -> DaytonaConfig:
    return DaytonaConfig(api_key=emulator().key, api_url=emulator().api_url, store_id=store_id)


@asynccontextmanager
async def open_sandbox(name: str, folder: Path) -> AsyncGenerator[Sandbox]:
    """A new sandbox, destroyed in the end. One of Daytona's is emptied and used again."""
    if name == "daytona":
        async with open_provider("daytona", Path("shared")) as shared:
            yield await emptied(shared)
        return
    async with open_provider(name, folder) as provider:
        workspace_id = f"test-{secrets.token_hex(4)}"
        sandbox = await provider.acquire(Spec(provider=provider.name), workspace_id, 1, no_phase)
        try:
            yield sandbox
        finally:
            with anyio.CancelScope(shield=True):
                await provider.destroy(workspace_id, 1)


_EMPTY = "chmod -R u+rwx . ; find . -mindepth 1 -delete; ls -A"


async def emptied(provider: Provider) -> Sandbox:
    """The one sandbox that tests share, with nothing in it that the one before left."""
    sandbox = await provider.acquire(Spec(provider=provider.name), "shared", 1, no_phase)
    for process in await sandbox.processes():
        if process.state is RunState.RUNNING:
            await sandbox.stop(process.id, grace_s=0)
    done = await sandbox.exec(Command(text=_EMPTY, timeout_s=WAIT_S))
    assert (done.state, done.head) == (RunState.EXITED, b""), done
    return sandbox


def no_phase(phase: Phase, percent: float) -> None:
    """For those who do not look at phases."""


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, in short steps, until it is so."""
    with anyio.fail_after(WAIT_S):
        while not await holds():  # noqa: ASYNC110  # what is waited for is in the sandbox
            await anyio.sleep(0.02)
