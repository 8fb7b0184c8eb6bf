"""Completion: name the tech stack, see what serves, start the development server only if nothing does."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

import anyio

from vaporform_mcp.errors import NotFound, SandboxUnavailable, VaporformError
from vaporform_mcp.sandboxes.base import Activity, Command, CommandResult, FileContent, ProcessStatus, RunState, Sandbox
from vaporform_mcp.techstack import TechStack, detect, wanted
from vaporform_mcp.types import WorkspacePath
from vaporform_mcp.workspace.lifeline import Lifeline
from vaporform_mcp.workspace.results import DevServer, PreviewStatus
from vaporform_mcp.workspace.running import Runner

__all__ = ["Served", "find_stack", "serve"]

PROBE_LIMIT_S = 3.0
START_LIMIT_S = 25.0
MAX_MANIFEST_BYTES = 256 * 1024
MAX_PORTS = 16
_LOG_BYTES = 2_000
_NOT_A_SERVER = re.compile(r"^\s*(?:open|xdg-open|start|echo|cat)\b|^\s*https?://", re.IGNORECASE)
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost:%d\r\nAccept: text/html,*/*\r\nConnection: close\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class Served:
    """What serves at the end: a preview for each port, and the development server if one is known."""

    def __init__(self, previews: Sequence[PreviewStatus], dev_server: DevServer | None) -> None:
        self.previews = previews
        self.dev_server = dev_server

    def url(self, likely_port: int | None) -> str | None:
        """The preview to show: the port the stack is known for, else the lowest that answers without an error."""
        answering = [item for item in self.previews if item.serves]
        best = sorted(
            answering,
            key=lambda item: (
                item.status is None or item.status >= 400,
                item.preview.port != likely_port,
                item.preview.port,
            ),
        )
        return best[0].preview.url if best else None


async def find_stack(sandbox: Sandbox, paths: Sequence[WorkspacePath]) -> TechStack:
    """Detect the stack from the tree's names and the manifests among them."""
    manifests = [WorkspacePath(path) for path in wanted(paths)]
    contents: dict[str, str] = {}
    if manifests:
        for result in await sandbox.read_files(manifests, max_bytes=MAX_MANIFEST_BYTES):
            if isinstance(result, FileContent):
                contents[result.path] = result.content.decode("utf-8", errors="replace")
    # In a thread: what a manifest holds is not ours, and may take its time to be parsed.
    return await anyio.to_thread.run_sync(detect, paths, contents)


async def serve(lifeline: Lifeline, runner: Runner, stack: TechStack, *, command: str | None, limit_s: float) -> Served:
    """Probe every port; where none answers HTTP, start the development server and wait for its port."""
    # A lost sandbox is healed here, before anything is decided.
    sandbox, activity = await lifeline.use(lambda live: _with_activity(live.sandbox))
    previews = await _probe_all(sandbox, runner, activity.ports)
    running = [status for status in activity.processes if status.state is RunState.RUNNING]
    if any(item.serves for item in previews):
        return Served(previews, _running_server(lifeline.record.dev_command, running))
    line, cwd = _server_line(lifeline.record.dev_command, running, stack, command)
    if line is None:
        return Served(previews, None)
    dev_server, ports = await _start(runner, line, cwd, limit_s=min(START_LIMIT_S, limit_s))
    if dev_server.error is None:
        await lifeline.remember(lambda record: replace(record, dev_command=f"cd {cwd} && {line}" if cwd else line))
        previews = await _probe_until_served(sandbox, runner, ports)
    return Served(previews, dev_server)


def _server_line(
    known: str | None, running: Sequence[ProcessStatus], stack: TechStack, command: str | None
) -> tuple[str | None, str]:
    if command and not _NOT_A_SERVER.match(command):
        return command, ""
    # One that runs already does not answer HTTP, or we were not here: another one beside it would only fail.
    if known and not any(_runs(status, known) for status in running):
        return known, ""
    return stack.dev_command, stack.directory


def _runs(status: ProcessStatus, line: str) -> bool:
    return line == status.command or line.endswith(f" && {status.command}")


async def _with_activity(sandbox: Sandbox) -> tuple[Sandbox, Activity]:
    return sandbox, await sandbox.activity()


async def _start(runner: Runner, line: str, cwd: str, *, limit_s: float) -> tuple[DevServer, frozenset[int]]:
    """Begin it, and answer with the ports that listened when its own had opened, or when it had its time."""
    command = Command(text=line, cwd=cwd)
    try:
        result, previews = await runner.execute(command, wait_s=limit_s, background=True, on_output=None)
    except VaporformError as error:
        return DevServer(started=False, command=line, process_id=None, error=error.message), frozenset()
    is_running = result.state is RunState.RUNNING
    return DevServer(
        started=is_running,
        command=line,
        process_id=result.process_id,
        error=None if is_running and previews else _why_not(result),
    ), result.ports


def _why_not(result: CommandResult) -> str:
    said = (result.head + result.tail)[-_LOG_BYTES:].decode("utf-8", errors="replace").strip()
    if result.state is RunState.RUNNING:
        return f"it runs, but no port has opened yet: {said}"
    code = "" if result.exit_code is None else f" with {result.exit_code}"
    return f"it {result.state.value}{code}: {said}"


def _running_server(known: str | None, running: Sequence[ProcessStatus]) -> DevServer | None:
    best = [status for status in running if known is not None and _runs(status, known)] or running
    if not best:
        return None
    return DevServer(started=False, command=best[-1].command, process_id=best[-1].id, error=None)


async def _probe_all(sandbox: Sandbox, runner: Runner, listening: frozenset[int]) -> list[PreviewStatus]:
    ports = sorted(listening)[:MAX_PORTS]
    statuses: dict[int, int | None] = {}

    async def probe(port: int) -> None:
        statuses[port] = await _http_status(sandbox, port)

    async with anyio.create_task_group() as group:
        for port in ports:
            group.start_soon(probe, port)
    return [PreviewStatus(preview=await runner.preview(port), status=statuses[port]) for port in ports]


async def _probe_until_served(sandbox: Sandbox, runner: Runner, ports: frozenset[int]) -> list[PreviewStatus]:
    """A port may open a moment before its server answers. `ports` are those that listened a moment ago."""
    deadline = time.monotonic() + PROBE_LIMIT_S
    while True:
        previews = await _probe_all(sandbox, runner, ports)
        if any(item.serves for item in previews) or time.monotonic() > deadline:
            return previews
        await anyio.sleep(0.1)
        ports = await sandbox.listening_ports()


async def _http_status(sandbox: Sandbox, port: int) -> int | None:
    """The status of GET /, or None where the port does not speak HTTP within the limit."""
    try:
        head = await sandbox.first_line(port, _REQUEST % port, within_s=PROBE_LIMIT_S)
    except (NotFound, SandboxUnavailable):
        return None
    found = _STATUS.match(head)
    return int(found[1]) if found else None
