"""What the tests of a workspace share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio

from vaporform_mcp.manager import Manager
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.types import WorkspaceName, WorkspacePath
from vaporform_mcp.workspace import Workspace
from vaporform_mcp.workspace.results import Executed

OWNER = "local"
NAME = WorkspaceName("app")
WAIT_S = 30.0


def path(text: str) -> WorkspacePath:
    return WorkspacePath(text)


async def opened(manager: Manager, name: WorkspaceName = NAME) -> Workspace:
    return await manager.workspace(OWNER, name, wait_s=WAIT_S)


async def run(workspace: Workspace, text: str, *, wait_s: float = WAIT_S, background: bool = False) -> Executed:
    return await workspace.execute(Command(text=text), wait_s=wait_s, background=background, on_output=None)


async def shell(workspace: Workspace, text: str) -> str:
    """What the command printed; it must have succeeded."""
    executed = await run(workspace, text)
    assert executed.result.exit_code == 0, executed.result
    return (executed.result.head + executed.result.tail).decode()


async def eventually(condition: Callable[[], Awaitable[bool]], *, limit_s: float = 20.0) -> None:
    """Wait until the condition holds; the bound is for a hang, not for a slow machine."""
    deadline = time.monotonic() + limit_s
    while not await condition():
        assert time.monotonic() < deadline, "it never came true"
        await anyio.sleep(0.05)
