"""Progress to the client while a call goes on: what it does at the moment, at a bearable rate."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from vaporform_mcp.tools.context import Activity

__all__ = ["Reporter", "reporting"]

FIRST_S = 1.0
APART_S = 0.5
HEARTBEAT_S = 5.0
"""What is said again though nothing changed: clients give up on calls that are silent."""


class Reporter(Protocol):
    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...


@asynccontextmanager
async def reporting(activity: Activity, report: Reporter) -> AsyncGenerator[None]:
    """Report from the first second on until the block ends. The block must not raise: what it has to say, it keeps."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_report, activity, report)
        yield
        tasks.cancel_scope.cancel()


async def _report(activity: Activity, report: Reporter) -> None:
    began = said_at = anyio.current_time()
    said = ""
    await anyio.sleep(FIRST_S)
    while True:
        now = anyio.current_time()
        if activity.message != said or now - said_at >= HEARTBEAT_S:
            said, said_at = activity.message, now
            # Seconds, since nothing else grows in every kind of work, and without an end that is known.
            await report(round(now - began, 1), None, said or "working")
        await anyio.sleep(APART_S)
