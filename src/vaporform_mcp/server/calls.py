"""One tool call, from the client's arguments to a result, whatever happens in between."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import anyio
from mcp.server.context import ServerRequestContext
from mcp_types import CallToolRequestParams, CallToolResult, InputRequiredResult

from vaporform_mcp.errors import NotFound, Unavailable, VaporformError
from vaporform_mcp.server import results, schemas
from vaporform_mcp.server.elicitation import InputNeeded, asker
from vaporform_mcp.server.progress import reporting
from vaporform_mcp.server.serving import Serving
from vaporform_mcp.tools.arguments import Arguments, parse
from vaporform_mcp.tools.context import Context
from vaporform_mcp.tools.spec import ToolResult, ToolSpec
from vaporform_mcp.types import parse_name

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.manager import Manager

__all__ = ["Calls", "Result"]

log = logging.getLogger(__name__)

GRACE_S = 10.0
"""What a tool may take beyond the wait limit, which it keeps itself, before it is cut off. Clients give up at 60 s."""

Result = CallToolResult | InputRequiredResult


class Calls:
    """Calls of the tools in `specs`, any number at once."""

    def __init__(
        self,
        serving: Serving,
        specs: Mapping[str, ToolSpec],
        manager: Callable[[], Awaitable[Manager]],
        *,
        grace_s: float = GRACE_S,
    ) -> None:
        self._serving = serving
        self._specs = specs
        self._manager = manager
        self._limit_s = serving.wait_limit_s + grace_s

    async def call(self, request: ServerRequestContext[object], params: CallToolRequestParams) -> Result:
        context = Context(
            owner=self._serving.owner,
            name=self._serving.workspace,
            wait_limit_s=self._serving.wait_limit_s,
            offered=self._specs.keys(),
            manager=self._manager,
            ask=asker(request, params, limit_s=self._serving.wait_limit_s),
        )
        if (request.meta or {}).get("progress_token") is None:
            result = await self._settled(params, context)
        else:
            async with reporting(context.activity, request.session.report_progress):
                result = await self._settled(params, context)
        _log_call(params.name, context, result)
        return result

    async def _settled(self, params: CallToolRequestParams, context: Context) -> Result:
        """The call's result. Nothing is raised but the cancellation of the call itself."""
        try:
            spec = self._spec(params.name)
            arguments = _arguments(spec, params.arguments or {}, context)
            result = await self._run(spec, arguments, context)
        except InputNeeded as needed:
            return needed.result
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -math.inf:
                raise
            # Somebody cancelled a task that the tool waited for. Let out, this would end the whole connection.
            return _failed(results.internal(error, tool=params.name), context)
        except (Exception, SystemExit) as error:  # noqa: BLE001 the one place where every failure becomes a result
            return _failed(results.the_error_in(error) or results.internal(error, tool=params.name), context)
        notices = [*_notices(context), *_ignored(arguments.ignored)]
        return results.success(result, output=spec.output, workspace=context.name, notices=notices)

    async def _run(self, spec: ToolSpec, arguments: Arguments, context: Context) -> ToolResult:
        with anyio.move_on_after(self._limit_s):
            return await spec.run(context, arguments)
        raise Unavailable(
            f"{spec.name} was given up after {self._limit_s:g} s, and whether it did its work is not known",
            hint="Look at the state of things, then call it again.",
        )

    def _spec(self, name: str) -> ToolSpec:
        if spec := self._specs.get(name):
            return spec
        raise NotFound(f"there is no tool {name[:80]!r}", hint=f"The tools are {', '.join(self._specs)}.")


def _arguments(spec: ToolSpec, sent: Mapping[str, object], context: Context) -> Arguments:
    declared = schemas.arguments(spec)
    arguments = parse(spec.name, declared, sent, closed=spec.closed)
    if schemas.WORKSPACE in declared and (name := arguments[schemas.WORKSPACE]):
        context.name = parse_name(name)
    return arguments


def _failed(error: VaporformError, context: Context) -> CallToolResult:
    return results.failure(error, workspace=context.name, notices=_notices(context))


def _notices(context: Context) -> Sequence[str]:
    return context.opened.take_notices() if context.opened else ()


def _ignored(names: Sequence[str]) -> Sequence[str]:
    return (f"Ignored unknown arguments: {', '.join(names[:10])}",) if names else ()


def _log_call(tool: str, context: Context, result: Result) -> None:
    milliseconds = round((anyio.current_time() - context.began_at) * 1000)
    outcome = "asks"
    size = 0
    if isinstance(result, CallToolResult):
        facts = (result.meta or {}).get(results.FACTS_KEY, {})
        outcome = facts.get("code", "error") if result.is_error else "ok"
        size = sum(len(block.text) for block in result.content if block.type == "text")
    log.info("%s ws=%s ms=%d chars=%d %s", tool[:80], context.name, milliseconds, size, outcome)
