"""The sandboxes on this machine, for people who look after it: which there are, and ending one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio.abc import TaskGroup

from vaporform_mcp.background import background
from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.attach import finish
from vaporform_mcp.sandboxes.local.client import Absent, Hung, connect
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.supervised.inside.wire import PROTOCOL

__all__ = ["Known", "end_sandbox", "known_sandboxes"]

_ASK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A sandbox that has a folder here.

    `state`: `running`, `stopped` (it starts when it is needed), `hung` (it does not answer) or `foreign` (of another
    version of this server). `servers` counts those attached and `processes` the commands that run, both 0 unless
    running; `pid` is its first process on this machine, where known. `uptime_s` is in seconds.
    """

    workspace_id: str
    epoch: int
    state: str
    pid: int | None = None
    servers: int = 0
    processes: int = 0
    uptime_s: float = 0.0


async def known_sandboxes(data_dir: Path) -> Sequence[Known]:
    """Every sandbox that has a folder, sorted by name. Looking starts none, and keeps none from ending."""
    async with background() as tasks:
        return [await _look(folder, tasks) for folder in layout.folders(data_dir)]


async def end_sandbox(data_dir: Path, workspace_id: str, epoch: int) -> None:
    """End a sandbox with everything that runs in it; its files stay.

    Raises:
        SandboxUnavailable: it does not end.
    """
    folder = layout.folder_of(data_dir, workspace_id, epoch)
    if folder.root.exists():
        async with background() as tasks:
            await finish(folder, tasks)


async def _look(folder: Folder, tasks: TaskGroup) -> Known:
    stopped = Known(workspace_id=folder.workspace_id, epoch=folder.epoch, state="stopped")
    try:
        connection = await connect(folder)
    except (Absent, NotADirectoryError):
        return stopped
    except Hung:
        return Known(workspace_id=folder.workspace_id, epoch=folder.epoch, state="hung")
    hello = connection.hello
    pid = hello.pid or None
    if hello.protocol != PROTOCOL:
        connection.close()
        return Known(workspace_id=folder.workspace_id, epoch=folder.epoch, state="foreign", pid=pid)
    tasks.start_soon(connection.serve)
    try:
        info = (await connection.request("info", within_s=_ASK_S)).fields
        return Known(
            workspace_id=folder.workspace_id,
            epoch=folder.epoch,
            state="running",
            pid=pid,
            servers=max(info.number("attached") - 1, 0),
            processes=info.number("processes"),
            uptime_s=info.real("uptime_s"),
        )
    except VaporformError:
        return Known(workspace_id=folder.workspace_id, epoch=folder.epoch, state="hung", pid=pid)
    finally:
        connection.close()
