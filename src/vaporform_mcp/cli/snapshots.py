"""`vaporform-mcp snapshots`: machines saved under names, of which workspaces are opened."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial

import anyio

from vaporform_mcp import app
from vaporform_mcp.app import OWNER
from vaporform_mcp.cli.records import find_record
from vaporform_mcp.cli.statuses import DONE, FAILED
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.manager.snapshots import ListedSnapshot
from vaporform_mcp.sandboxes.snapshots import Snapshot, SnapshotState
from vaporform_mcp.settings import Settings
from vaporform_mcp.tools.snapshots import snapshot_facts
from vaporform_mcp.tools.text import moment
from vaporform_mcp.types import parse_name

__all__ = ["delete_snapshot", "list_snapshots", "save_snapshot"]

_WITHIN_S = 3600.0
_GONE_WITHIN_S = 60.0


def list_snapshots(settings: Settings, out: Terminal, *, as_json: bool) -> int:
    found = anyio.run(partial(_list, settings))
    if as_json:
        out.line(json.dumps([snapshot_facts(each) for each in found], indent=2, ensure_ascii=False))
    elif not found:
        out.line("There is no snapshot yet.")
    else:
        out.table(("SNAPSHOT", "STATE", "SAVED FROM", "SIZE", "MADE", "REASON"), [_row(each) for each in found])
    return DONE


def save_snapshot(settings: Settings, out: Terminal, err: Terminal, *, workspace: str, name: str) -> int:
    if err.is_terminal:
        err.line(f"Saving {workspace}, which may take minutes …", Style.FAINT)
    saved = anyio.run(partial(_save, settings, workspace, name))
    if saved.state is SnapshotState.SAVING:
        err.line(f"{name} is still being saved after an hour. Repeat the command to wait on.", Style.DOUBTFUL)
        return FAILED
    out.line(f"Saved {workspace} as {name}. Open a workspace from it: open_workspace with snapshot {name}.")
    return DONE


def delete_snapshot(settings: Settings, out: Terminal, err: Terminal, *, name: str, yes: bool) -> int:
    found = anyio.run(partial(_find, settings, name))
    # Asked while no event loop runs: it would hold Ctrl-C back until something is typed.
    if not yes and not _is_wanted(err, found):
        err.line("Nothing was deleted.")
        return FAILED
    is_gone = anyio.run(partial(_delete, settings, name))
    out.line(f"Deleted {name}." if is_gone else f"{name} is being removed; its name is free when that has ended.")
    return DONE


async def _list(settings: Settings) -> Sequence[ListedSnapshot]:
    async with app.open_manager(settings) as manager:
        return await manager.snapshots.list(OWNER)


async def _find(settings: Settings, name: str) -> ListedSnapshot:
    async with app.open_manager(settings) as manager:
        return await manager.snapshots.find(OWNER, name)


async def _save(settings: Settings, workspace: str, name: str) -> Snapshot:
    async with app.open_manager(settings) as manager:
        manager.snapshots.check_name(name)
        async with app.open_store(settings) as store:
            await find_record(store, workspace)  # a name that was typed wrongly makes no workspace
        return await manager.snapshots.save(OWNER, parse_name(workspace), name, wait_s=_WITHIN_S)


async def _delete(settings: Settings, name: str) -> bool:
    async with app.open_manager(settings) as manager:
        return await manager.snapshots.delete(name, wait_s=_GONE_WITHIN_S)


def _row(each: ListedSnapshot) -> Sequence[str]:
    snapshot = each.snapshot
    return (
        snapshot.name,
        snapshot.state.value,
        "(provider)" if snapshot.is_general else each.workspace or "",
        "" if snapshot.size_gb is None else f"{snapshot.size_gb:g} GB",
        "" if snapshot.created_at is None else moment(snapshot.created_at),
        snapshot.reason,
    )


def _is_wanted(err: Terminal, found: ListedSnapshot) -> bool:
    name = found.snapshot.name
    origin = f"saved from {found.workspace}" if found.workspace else "which no workspace here is known to be saved as"
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"the snapshot {name}, {origin}, would be deleted, and there is nobody to ask", hint="Add --yes."
        )
    err.line(f"Delete the snapshot {name}, {origin}? It cannot be had back. [y/N]")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
