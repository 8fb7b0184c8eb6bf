"""A client of the real server, which calls tools as an agent does and tells of each call."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import IO

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import TextContent

from vaporform_mcp.demo.facts import Facts
from vaporform_mcp.demo.telling import Differs, Teller, conclude, expect
from vaporform_mcp.server.results import FACTS_KEY

__all__ = ["Agent", "Answer", "started"]

CALL_S = 120.0
"""A bound for one call, which the server's own wait limit keeps far below."""

_LOG_CHARS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A tool's result: what a model reads of it, and the facts in it."""

    text: str
    facts: Facts
    is_error: bool


Check = Callable[[Answer], str]
"""Looks at an answer: what came of the call, in a line. Raises `Differs`."""


class Agent:
    """Works in one workspace. `calls` counts the tool calls."""

    def __init__(self, client: Client, workspace: str, tell: Teller) -> None:
        self._client = client
        self._workspace = workspace
        self._tell = tell
        self.calls = 0

    async def call(self, tool: str, about: str, check: Check, **arguments: object) -> Answer:
        """Call `tool` in the workspace and tell what came of it.

        Raises:
            Differs: the call failed, or its answer is not as it should be.
        """
        began = time.perf_counter()
        answer = await self._answer(tool, {**arguments, "workspace": self._workspace})
        return self._told(tool, about, check, answer, began)

    async def open(self, check: Check, **arguments: object) -> Answer:
        """Open the workspace; where that takes longer than a call may, repeat the call as the answer says."""
        began = time.perf_counter()
        answer = await self._answer("open_workspace", {**arguments, "name": self._workspace})
        while not answer.is_error and answer.facts.text("state") == "preparing":
            answer = await self._answer("open_workspace", {**arguments, "name": self._workspace})
        return self._told("open_workspace", self._workspace, check, answer, began)

    async def quiet(self, tool: str, **arguments: object) -> Answer:
        """Call `tool` and tell nothing: one of many alike, told together. Raises `Differs` where it failed."""
        answer = await self._answer(tool, {**arguments, "workspace": self._workspace})
        expect(not answer.is_error, answer.text)
        return answer

    def _told(self, tool: str, about: str, check: Check, answer: Answer, began: float) -> Answer:
        def checked() -> str:
            expect(not answer.is_error, answer.text)
            return check(answer)

        conclude(self._tell, tool, about, began=began, check=checked)
        return answer

    async def _answer(self, tool: str, arguments: dict[str, object]) -> Answer:
        self.calls += 1
        try:
            result = await self._client.call_tool(tool, arguments, read_timeout_seconds=CALL_S)
        except MCPError as error:
            raise Differs(f"the server did not answer: {error}") from error
        text = "\n".join(each.text for each in result.content if isinstance(each, TextContent))
        return Answer(text=text, facts=Facts.of((result.meta or {}).get(FACTS_KEY)), is_error=result.is_error)


@asynccontextmanager
async def started(environment: dict[str, str], workspace: str, tell: Teller) -> AsyncGenerator[Agent]:
    """An agent whose server was started for it over stdio, and is ended with it.

    Raises:
        Differs: the server did not start. The message has the end of its log.
    """
    server = StdioServerParameters(command=sys.executable, args=["-m", "vaporform_mcp"], env=environment)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        async with AsyncExitStack() as stack:
            try:
                client = await stack.enter_async_context(Client(stdio_client(server, errlog=log)))
            except (MCPError, OSError, ExceptionGroup) as error:
                raise Differs(f"the server did not start: {error}\n{_end_of(log)}".strip()) from error
            yield Agent(client, workspace, tell)


def _end_of(log: IO[str]) -> str:
    log.seek(0)
    return log.read()[-_LOG_CHARS:]
