"""A manager over the real local provider and the real SQLite store, in a folder of the test's own."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import Manager, open_manager
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import LocalProvider, open_local
from vaporform_mcp.stores.sqlite import SqliteStore, open_sqlite
from vaporform_mcp.types import Spec


class Server:
    """What one server process has, but for the protocol."""

    def __init__(self, manager: Manager, provider: LocalProvider, store: SqliteStore, data: Path) -> None:
        self.manager = manager
        self.provider = provider
        self.store = store
        self.data = data


ServerFactory = Callable[[], AbstractAsyncContextManager[Server]]


@pytest.fixture
def start_server(tmp_path: Path) -> ServerFactory:
    """Starts another server over the same data, as a second client of the same person would."""
    config = LocalConfig(
        data_dir=tmp_path, network="none", linger_s=2.0, toolchains=("none",), host_environment=dict(os.environ)
    )

    @asynccontextmanager
    async def start() -> AsyncGenerator[Server]:
        async with (
            open_sqlite(tmp_path / "vaporform.sqlite3") as store,
            open_local(config) as provider,
            open_manager(
                store, provider, lambda name: HostLock(tmp_path / "locks" / name), Spec(provider="local")
            ) as manager,
        ):
            yield Server(manager, provider, store, tmp_path)

    return start


@pytest.fixture
async def server(start_server: ServerFactory) -> AsyncGenerator[Server]:
    async with start_server() as started:
        yield started
