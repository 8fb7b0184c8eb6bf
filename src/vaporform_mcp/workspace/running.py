"""Commands, processes and the ports that they open."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.base import Command, CommandResult, Preview, ProcessStatus, RunState
from vaporform_mcp.types import WorkspaceRecord
from vaporform_mcp.workspace.lifeline import Lifeline
from vaporform_mcp.workspace.opening import Live
from vaporform_mcp.workspace.results import Checked

__all__ = ["Runner"]

log = logging.getLogger(__name__)

BACKGROUND_WAIT_S = 10.0
"""How long a background command is watched for its port, so that the answer can have the preview."""

MAX_PREVIEWS = 10
MAX_COMMANDS = 10
MAX_COMMAND_KEPT = 300

_INSTALLS = re.compile(
    r"(?:^|[;&|]\s*|\s)(?:npm (?:i|ci|install|add)|pnpm (?:i|install|add)|yarn(?: install| add)?|bun (?:i|install|add)|"
    r"(?:uv |python3? -m )?pip3? install|uv (?:sync|add)|poetry (?:install|add)|pdm (?:install|add)|pipenv install|"
    r"(?:python3?|uv) (?:-m )?venv|cargo (?:build|install|fetch)|go (?:get|install|mod download)|bundle install|"
    r"composer install)(?:\s|$)"
)


class Runner:
    """Runs commands in whatever sandbox is live, and remembers what a rebuilt one would lack."""

    def __init__(self, lifeline: Lifeline) -> None:
        self._lifeline = lifeline
        self._ports: frozenset[int] = frozenset()
        self._ports_of: Live | None = None

    async def execute(
        self, command: Command, *, wait_s: float, background: bool, on_output: Callable[[bytes], None] | None
    ) -> tuple[CommandResult, Sequence[Preview]]:
        async def run(live: Live) -> tuple[Live, CommandResult]:
            return live, await live.sandbox.exec(
                command,
                wait_s=min(wait_s, BACKGROUND_WAIT_S) if background else wait_s,
                until_port=background,
                on_output=on_output,
            )

        live, result = await self._lifeline.use(run)
        previews = await self._opened(live, result.ports)
        if result.state is RunState.RUNNING:
            self._lifeline.running[result.process_id] = command.text
        await self._remember(command, result, serves=bool(previews))
        return result, previews

    async def check(
        self, process_id: str, *, wait_s: float, data: bytes | None, offset: int | None, limit: int
    ) -> Checked:
        """Send `data` if there is any, wait for output beyond `offset` (None: for the end), answer with both."""

        async def look(live: Live) -> Checked:
            sandbox = live.sandbox
            if data is not None:
                await sandbox.send_input(process_id, data)
            status = await sandbox.wait(process_id, wait_s=wait_s, offset=offset)
            start = offset if offset is not None else max(0, status.output_bytes - limit)
            chunk = await sandbox.output(process_id, offset=start, limit=limit)
            previews = await self._opened(live, await sandbox.listening_ports())
            return Checked(status=status, output=chunk, previews=previews)

        checked = await self._lifeline.use(look)
        if checked.status.state is not RunState.RUNNING:
            self._lifeline.running.pop(process_id, None)
        return checked

    async def processes(self) -> Sequence[ProcessStatus]:
        return await self._lifeline.use(lambda live: live.sandbox.processes())

    async def stop(self, process_id: str) -> ProcessStatus:
        status = await self._lifeline.use(lambda live: live.sandbox.stop(process_id))
        self._lifeline.running.pop(process_id, None)
        return status

    async def preview(self, port: int) -> Preview:
        """The port's URL; the same host port as ever, where it is still to be had."""
        preferred = self._lifeline.record.previews.get(port)
        preview = await self._lifeline.use(lambda live: live.sandbox.preview(port, preferred=preferred))
        host_port = _host_port(preview.url)
        if host_port is not None and host_port != preferred:
            await self._lifeline.remember(lambda record: _with_preview(record, port, host_port))
        return preview

    async def _opened(self, live: Live, ports: frozenset[int]) -> list[Preview]:
        known = self._ports if self._ports_of is live else frozenset[int]()
        new, self._ports, self._ports_of = ports - known, ports, live
        previews: list[Preview] = []
        for port in sorted(new)[:MAX_PREVIEWS]:
            try:
                previews.append(await self.preview(port))
            except VaporformError as error:
                # The command did its work; whoever asks for this port's preview is told what is wrong with it.
                log.warning("no preview for port %d: %s", port, error)
        return previews

    async def _remember(self, command: Command, result: CommandResult, *, serves: bool) -> None:
        text = command.text.strip()
        if len(text) > MAX_COMMAND_KEPT or "\n" in text:
            return
        if command.cwd:
            text = f"cd {command.cwd} && {text}"
        if result.state is RunState.RUNNING and serves:
            await self._lifeline.remember(lambda record: replace(record, dev_command=text))
        elif result.exit_code == 0 and _INSTALLS.search(text):
            await self._lifeline.remember(lambda record: replace(record, commands=_with_latest(record.commands, text)))


def _with_latest(commands: Sequence[str], text: str) -> tuple[str, ...]:
    return (*(known for known in commands if known != text), text)[-MAX_COMMANDS:]


def _with_preview(record: WorkspaceRecord, port: int, host_port: int) -> WorkspaceRecord:
    return replace(record, previews={**record.previews, port: host_port})


def _host_port(url: str) -> int | None:
    found = re.fullmatch(r"https?://(?:127\.0\.0\.1|localhost):(\d+)/?", url)
    return int(found[1]) if found else None
