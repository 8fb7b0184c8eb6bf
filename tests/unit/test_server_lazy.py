"""A resource that is opened at its first use."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from vaporform_mcp.server.lazy import Lazy


class Opener:
    """Counts what was opened and closed; fails as often as it is told to."""

    def __init__(self, *, failures: int = 0) -> None:
        self.opened = 0
        self.closed = 0
        self.failures = failures
        self.broken = anyio.Event()

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[str]:
        if self.failures:
            self.failures -= 1
            raise OSError("cannot be opened")
        self.opened += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._break_later)
                yield f"value {self.opened}"
                tasks.cancel_scope.cancel()
        finally:
            self.closed += 1

    async def _break_later(self) -> None:
        await self.broken.wait()
        raise OSError("broke while in use")


async def test_nothing_is_opened_before_it_is_asked_for() -> None:
    opener = Opener()
    lazy = Lazy(opener)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lazy.run)
        await anyio.wait_all_tasks_blocked()
        lazy.finish()
    assert (opener.opened, opener.closed) == (0, 0)


async def test_all_who_ask_get_the_same_value_and_it_is_closed_once() -> None:
    opener = Opener()
    lazy = Lazy(opener)
    got: list[str] = []

    async def ask() -> None:
        got.append(await lazy.get())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lazy.run)
        async with anyio.create_task_group() as askers:
            for _ in range(5):
                askers.start_soon(ask)
        assert opener.closed == 0
        lazy.finish()
        await lazy.closed.wait()
    assert got == ["value 1"] * 5
    assert (opener.opened, opener.closed) == (1, 1)


async def test_an_opening_that_failed_is_tried_again_by_the_next_who_asks() -> None:
    lazy = Lazy(Opener(failures=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lazy.run)
        with pytest.raises(OSError, match="cannot be opened"):
            await lazy.get()
        assert await lazy.get() == "value 1"
        lazy.finish()


async def test_what_breaks_while_in_use_is_opened_anew() -> None:
    opener = Opener()
    lazy = Lazy(opener)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lazy.run)
        assert await lazy.get() == "value 1"
        opener.broken.set()
        opener.broken = anyio.Event()
        with anyio.fail_after(5):
            while opener.closed == 0:
                await anyio.wait_all_tasks_blocked()
        assert await lazy.get() == "value 2"
        lazy.finish()


async def test_one_who_asks_while_it_ends_is_not_left_waiting() -> None:
    lazy = Lazy(Opener())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lazy.run)
        lazy.finish()
        await lazy.closed.wait()
        with pytest.raises(RuntimeError, match="ending"), anyio.fail_after(5):
            await lazy.get()
