"""Whatever a tool does, its call has a result and the connection goes on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from mcp import Client
from mcp.shared.memory import create_client_server_memory_streams
from mcp_types import CallToolResult

from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.manager import Manager
from vaporform_mcp.server.calls import Calls
from vaporform_mcp.server.lazy import Lazy
from vaporform_mcp.server.resources import Resources
from vaporform_mcp.server.results import FACTS_KEY
from vaporform_mcp.server.serving import Serving
from vaporform_mcp.server.stdio import make_server
from vaporform_mcp.tools.arguments import Arguments
from vaporform_mcp.tools.context import Context
from vaporform_mcp.tools.spec import ToolResult, ToolSpec
from vaporform_mcp.types import WorkspaceName

pytestmark = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])

Run = Callable[[Context, Arguments], Awaitable[ToolResult]]


@asynccontextmanager
async def no_manager() -> AsyncGenerator[Manager]:
    raise NotFound("nothing is set up", hint="Set it up.")
    yield  # pragma: no cover


@asynccontextmanager
async def connected(run: Run, mode: str, *, limit_s: float = 20.0) -> AsyncGenerator[Client]:
    """A client of a server whose one tool, `boom`, does what `run` does; it also has the tool `fine`."""

    async def fine(context: Context, arguments: Arguments) -> ToolResult:
        return ToolResult(text="fine", facts={})

    specs = {
        name: ToolSpec(name=name, title=name, description=name, arguments=(), run=each)
        for name, each in {"boom": run, "fine": fine}.items()
    }
    serving = Serving(
        open_manager=no_manager,
        load=lambda: None,
        owner="local",
        workspace=WorkspaceName("demo"),
        tools="all",
        wait_limit_s=limit_s,
    )
    manager = Lazy(serving.open_manager)
    calls = Calls(serving, specs, manager.get, grace_s=0.0)
    server = make_server(serving, specs, calls, Resources(serving, manager.get), anyio.Event())

    @asynccontextmanager
    async def transport() -> AsyncGenerator[tuple[object, object]]:
        async with (
            create_client_server_memory_streams() as (client_streams, server_streams),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(manager.run)
            tasks.start_soon(server.run, *server_streams, server.create_initialization_options())
            yield client_streams
            tasks.cancel_scope.cancel()

    with anyio.fail_after(20):
        async with Client(transport(), mode=mode) as client:  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            yield client


async def outcome_of(run: Run, mode: str, *, limit_s: float = 20.0) -> CallToolResult:
    """What `boom` came to; afterwards the connection must still answer."""
    async with connected(run, mode, limit_s=limit_s) as client:
        result = await client.call_tool("boom", {})
        after = await client.call_tool("fine", {})
        assert not after.is_error
        assert isinstance(result, CallToolResult)
        return result


def code_of(result: CallToolResult) -> str:
    assert result.is_error
    assert result.structured_content is None
    return (result.meta or {})[FACTS_KEY]["code"]


async def test_an_intended_failure_reaches_the_model(mode: str) -> None:
    async def run(context: Context, arguments: Arguments) -> ToolResult:
        raise Conflict("two wrote at once", hint="Read it and try again.")

    result = await outcome_of(run, mode)
    assert code_of(result) == "conflict"
    assert result.content[0].type == "text"
    assert result.content[0].text == "Two wrote at once. Read it and try again."


async def test_an_intended_failure_in_a_task_group_reaches_the_model(mode: str) -> None:
    async def fail() -> None:
        raise NotFound("no such thing", hint="Look.")

    async def run(context: Context, arguments: Arguments) -> ToolResult:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
        return ToolResult(text="never", facts={})

    assert code_of(await outcome_of(run, mode)) == "not_found"


async def test_a_failure_of_what_every_tool_needs_reaches_the_model(mode: str) -> None:
    async def run(context: Context, arguments: Arguments) -> ToolResult:
        await context.workspace()
        return ToolResult(text="never", facts={})

    assert code_of(await outcome_of(run, mode)) == "not_found"


@pytest.mark.parametrize("bug", [RuntimeError("/home/me/key"), SystemExit(3), asyncio.CancelledError("stray")])
async def test_a_bug_is_an_internal_error_without_details(mode: str, bug: BaseException) -> None:
    async def run(context: Context, arguments: Arguments) -> ToolResult:
        raise bug

    result = await outcome_of(run, mode)
    assert code_of(result) == "internal"
    assert "/home/me" not in str(result)


async def test_a_bug_while_progress_is_reported_is_an_internal_error_too(mode: str) -> None:
    async def run(context: Context, arguments: Arguments) -> ToolResult:
        raise asyncio.CancelledError("stray")

    async def ignore(progress: float, total: float | None, message: str | None) -> None:
        pass

    async with connected(run, mode) as client:
        result = await client.call_tool("boom", {}, progress_callback=ignore)
        assert isinstance(result, CallToolResult)
        assert code_of(result) == "internal"


async def test_a_tool_that_never_ends_is_given_up(mode: str) -> None:
    async def run(context: Context, arguments: Arguments) -> ToolResult:
        await anyio.sleep(math.inf)
        return ToolResult(text="never", facts={})

    result = await outcome_of(run, mode, limit_s=0.2)
    assert "given up after 0.2 s" in str(result.content[0])


async def test_a_call_that_its_client_cancels_is_cancelled(mode: str) -> None:
    began, cancelled = anyio.Event(), anyio.Event()

    async def run(context: Context, arguments: Arguments) -> ToolResult:
        began.set()
        try:
            await anyio.sleep(math.inf)
        finally:
            cancelled.set()
        return ToolResult(text="never", facts={})

    async with connected(run, mode) as client:

        async def call() -> None:
            await client.call_tool("boom", {})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await began.wait()
            tasks.cancel_scope.cancel()
        await cancelled.wait()
        assert not (await client.call_tool("fine", {})).is_error
