"""Each provider as the contract's tests open it."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from vaporform_mcp.sandboxes.base import Provider, Sandbox
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.types import Phase, Spec

PROVIDERS = ("local", "local-restricted")
WAIT_S = 20.0


@asynccontextmanager
async def open_provider(name: str, folder: Path) -> AsyncGenerator[Provider]:
    """`local-restricted` is the local provider at the level that needs no namespaces."""
    level: Level = "restricted" if name == "local-restricted" else "namespaces"
    config = LocalConfig(
        data_dir=folder, isolation=level, linger_s=20, host_environment={"PATH": os.environ.get("PATH", "")}
    )
    async with open_local(config) as provider:
        yield provider


@asynccontextmanager
async def open_sandbox(name: str, folder: Path) -> AsyncGenerator[Sandbox]:
    """A new sandbox, destroyed in the end."""
    async with open_provider(name, folder) as provider:
        workspace_id = f"test-{secrets.token_hex(4)}"
        sandbox = await provider.acquire(Spec(provider=provider.name), workspace_id, 1, no_phase)
        try:
            yield sandbox
        finally:
            with anyio.CancelScope(shield=True):
                await provider.destroy(workspace_id, 1)


def no_phase(phase: Phase, percent: float) -> None:
    """For those who do not look at phases."""


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, in short steps, until it is so."""
    with anyio.fail_after(WAIT_S):
        while not await holds():  # noqa: ASYNC110  # what is waited for is in the sandbox
            await anyio.sleep(0.02)
