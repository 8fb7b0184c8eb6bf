"""Servers with one MongoDB database, one of which may be made to sleep between two of its commands; and a provider on
the emulated Daytona.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator

import pytest

from tests import mongod
from tests.contract.stores import Clock
from tests.fault.daytona import Scene, open_scene
from tests.mongowire import Wire, wire_to
from vaporform_mcp.sandboxes.daytona.sandbox import DaytonaSandbox
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.mongo import MongoStore, open_mongo


@pytest.fixture
def clock() -> Clock:
    """Of all servers, counting the time that they sleep."""
    return Clock()


@pytest.fixture
def database() -> Generator[str]:
    with mongod.dropped(mongod.shared.uri()) as name:
        yield name


@pytest.fixture
async def wire() -> AsyncGenerator[Wire]:
    async with wire_to(mongod.shared.uri()) as made:
        yield made


@pytest.fixture
async def sleeper(wire: Wire, database: str, clock: Clock) -> AsyncIterator[MongoStore]:
    """The store of the server that sleeps."""
    async with open_mongo(wire.uri, database, clock=clock) as opened:
        await opened.list_workspaces("ada")
        yield opened


@pytest.fixture
async def other(database: str, clock: Clock) -> AsyncIterator[Store]:
    """The store of a server that does not."""
    async with open_mongo(mongod.shared.uri(), database, clock=clock) as opened:
        yield opened


@pytest.fixture
async def scene(namespaces: None) -> AsyncIterator[Scene]:
    async with open_scene(ready_s=20) as opened:
        yield opened


@pytest.fixture
async def sandbox(scene: Scene) -> DaytonaSandbox:
    return await scene.acquire()
