"""One store of each kind for the tests that hold for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.stores import KINDS, LONG, Clock, open_store
from vaporform_mcp.stores.base import Store


@pytest.fixture
def clock() -> Clock:
    """The time by which `store` lives; it stands still until a test moves it."""
    return Clock()


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    if request.param == "mongo" and request.node.get_closest_marker("many") and not LONG:
        pytest.skip("takes minutes with this server: make test-long runs it")
    async with open_store(request.param, tmp_path, clock) as opened:
        yield opened
