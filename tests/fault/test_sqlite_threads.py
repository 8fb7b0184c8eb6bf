"""The SQLite store used by several calls at once, in threads of one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Protocol

import anyio
import pytest

from tests.contract.stores import make_workspace
from vaporform_mcp.stores.sqlite import SqliteStore, connections, open_sqlite, schema

READERS = 3
ROUNDS = 40


TRACED = {connections.__file__, schema.__file__}


class _Trace(Protocol):
    def __call__(self, frame: FrameType, event: str, arg: object, /) -> _Trace | None: ...


@pytest.fixture(autouse=True)
def _threads_give_way() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]  # pytest finds it
    """After each line of the modules that threads are in together, another thread may go on."""

    def trace(frame: FrameType, event: str, arg: object, /) -> _Trace | None:
        del event, arg
        return give_way if frame.f_code.co_filename in TRACED else None

    def give_way(frame: FrameType, event: str, arg: object, /) -> _Trace | None:
        del frame, event, arg
        time.sleep(0.0002)
        return give_way

    usual = threading.gettrace()
    threading.settrace(trace)
    yield
    threading.settrace(usual)  # pyright: ignore[reportArgumentType]  # None takes it away


async def read_at_once(store: SqliteStore) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(READERS):
            group.start_soon(store.list_workspaces, "ada")


async def test_calls_that_come_at_once_do_not_take_each_others_connection(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        async with open_sqlite(tmp_path / "vaporform.sqlite3") as store:
            for _ in range(number % READERS):
                await store.list_workspaces("ada")
            await read_at_once(store)
            await read_at_once(store)


async def test_the_first_calls_on_a_new_file_may_come_at_once(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        async with open_sqlite(tmp_path / f"{number}.sqlite3") as store:
            await read_at_once(store)


async def test_the_first_calls_on_a_new_file_may_come_at_once_from_several_servers(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        path = tmp_path / f"{number}.sqlite3"
        async with open_sqlite(path) as one, open_sqlite(path) as two, anyio.create_task_group() as group:
            for store in (one, two):
                group.start_soon(store.list_workspaces, "ada")
                group.start_soon(make_workspace, store, f"of-{id(store)}")
