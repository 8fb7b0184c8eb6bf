"""Tests against the real service, for whoever has an account and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from tests.contract.sandboxes import emptied
from tests.live.account import KEY, NONE, config, remove_all
from vaporform_mcp.sandboxes.base import Provider, Sandbox


@pytest.fixture(scope="session")
def account() -> Iterator[None]:
    """Nothing of an earlier run is there, and nothing of this one afterwards."""
    if not KEY:
        pytest.skip(NONE)
    anyio.run(remove_all)
    yield
    anyio.run(remove_all)


@pytest.fixture
async def provider(account: None) -> AsyncIterator[Provider]:
    from vaporform_mcp.sandboxes.daytona.provider import open_daytona

    async with open_daytona(config()) as opened:
        yield opened
        with anyio.CancelScope(shield=True):
            for epoch in (1, 2):
                await opened.destroy("ws", epoch)


@pytest.fixture
async def sandbox(account: None) -> AsyncIterator[Sandbox]:
    """One for all tests, emptied before each."""
    from vaporform_mcp.sandboxes.daytona.provider import open_daytona

    async with open_daytona(config()) as opened:
        yield await emptied(opened)
