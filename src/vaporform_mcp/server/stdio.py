"""The server over standard input and output: one client, a lazy beginning, and an end within a bound."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping

import anyio
from anyio.abc import TaskStatus
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp_types import (
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListToolsResult,
    PaginatedRequestParams,
)

from vaporform_mcp import __version__
from vaporform_mcp.server import instructions, schemas
from vaporform_mcp.server.calls import Calls
from vaporform_mcp.server.lazy import Lazy
from vaporform_mcp.server.resources import Resources
from vaporform_mcp.server.serving import Serving
from vaporform_mcp.server.wire import claim_standard_streams, open_wire
from vaporform_mcp.tools.catalogue import offered
from vaporform_mcp.tools.spec import ToolSpec

__all__ = ["make_server", "serve_stdio"]

log = logging.getLogger(__name__)

NAME = "vaporform-mcp"

END_LIMIT_S = 10.0
"""From the end of the input, or a signal, to the end of the process."""

_LOAD_AFTER_S = 0.02  # behind the answer that is on its way

_LISTS_LAST_MS = 3_600_000  # they change with the version only


def make_server(
    serving: Serving, specs: Mapping[str, ToolSpec], calls: Calls, files: Resources, listed: anyio.Event
) -> Server[object]:
    """The protocol's side of the server: what it lists, and where its calls go. `listed` is set with the first list."""

    async def list_tools(_: ServerRequestContext[object], __: PaginatedRequestParams | None) -> ListToolsResult:
        listed.set()
        return ListToolsResult(tools=[schemas.tool(spec) for spec in specs.values()])

    async def list_prompts(_: ServerRequestContext[object], __: PaginatedRequestParams | None) -> ListPromptsResult:
        return instructions.prompts()

    async def get_prompt(_: ServerRequestContext[object], params: GetPromptRequestParams) -> GetPromptResult:
        return instructions.build_prompt(params, specs.keys())

    hint = CacheHint(ttl_ms=_LISTS_LAST_MS, scope="public")
    server = Server[object](
        NAME,
        version=__version__,
        title="Vaporform",
        instructions=instructions.instructions(
            specs.keys(), workspace=serving.workspace, wait_limit_s=serving.wait_limit_s
        ),
        cache_hints={"tools/list": hint, "prompts/list": hint, "resources/templates/list": hint},
        on_list_tools=list_tools,
        on_call_tool=calls.call,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_list_resources=files.list,
        on_list_resource_templates=files.list_templates,
        on_read_resource=files.read,
        on_completion=files.complete,
    )
    # Without it, what a client sends back as our state would be whatever it likes.
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server


async def serve_stdio(serving: Serving) -> int:
    """Serve until the client closes our input or a signal asks for the end; answers with the exit status.

    Then running calls are cancelled and the server's state is closed. A second signal ends the process at once, and
    so does `END_LIMIT_S`.
    """
    wire_in, wire_out = claim_standard_streams()
    manager = Lazy(serving.open_manager)
    specs = offered(serving.tools)
    listed = anyio.Event()
    calls, files = Calls(serving, specs, manager.get), Resources(serving, manager.get)
    server = make_server(serving, specs, calls, files, listed)
    end = _End()
    async with anyio.create_task_group() as tasks:
        await tasks.start(end.on_signals)
        tasks.start_soon(manager.run)
        tasks.start_soon(_load_once, serving, listed)
        with end.serving:
            async with open_wire(wire_in, wire_out) as (came, sent):
                await server.run(came, sent, server.create_initialization_options())
        end.begin()
        manager.finish()
        await manager.closed.wait()
        tasks.cancel_scope.cancel()
    return 0


async def _load_once(serving: Serving, listed: anyio.Event) -> None:
    await listed.wait()
    await anyio.sleep(_LOAD_AFTER_S)
    try:
        await anyio.to_thread.run_sync(serving.load, abandon_on_cancel=True)
    except Exception:
        log.exception("loading ahead failed")  # the call that needs it will tell its client


class _End:
    """How the process ends: cleanly, or by force when that takes too long or somebody insists."""

    def __init__(self) -> None:
        self.serving = anyio.CancelScope()
        self._has_begun = False
        self._signals = 0

    def begin(self) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        # A thread, since what it guards against includes a blocked event loop and threads that the exit waits for.
        watchdog = threading.Timer(END_LIMIT_S, _force, args=(1, "the end took too long"))
        watchdog.daemon = True
        watchdog.start()

    async def on_signals(self, *, task_status: TaskStatus[None]) -> None:
        asked = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # else whoever started us wants it ignored
            asked.append(signal.SIGHUP)
        with anyio.open_signal_receiver(*asked) as received:
            task_status.started()
            async for number in received:
                self._signals += 1
                if self._signals > 1:
                    _force(128 + number, "a second signal")
                self.begin()
                self.serving.cancel()


def _force(status: int, reason: str) -> None:
    log.warning("ended at once: %s", reason)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)
