"""`vaporform-mcp restore`: a workspace's files, or some of them, as they were at a revision."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial

import anyio

from vaporform_mcp import app
from vaporform_mcp.app import OWNER
from vaporform_mcp.cli.progress import progress
from vaporform_mcp.cli.records import find_record
from vaporform_mcp.cli.statuses import DONE, FAILED
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.errors import InvalidArgument, SandboxUnavailable
from vaporform_mcp.history import Point, find
from vaporform_mcp.settings import Settings
from vaporform_mcp.tools.text import count
from vaporform_mcp.types import WorkspacePath, parse_name, parse_path
from vaporform_mcp.workspace.results import Restored

__all__ = ["Asked", "restore"]

_WITHIN_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    name: str
    to: str
    path: str | None
    yes: bool
    as_json: bool


def restore(settings: Settings, out: Terminal, err: Terminal, asked: Asked) -> int:
    """Answers with the exit status: 0 only where everything is as it was."""
    path = parse_path(asked.path or "", allow_root=True)
    to = anyio.run(partial(_find, settings, asked))
    # Asked while no event loop runs: it would hold Ctrl-C back until something is typed.
    if not path and not asked.yes and not _is_wanted(err, asked.name, to):
        err.line("Nothing was changed.")
        return FAILED
    restored = anyio.run(partial(_restore, settings, err, asked, to, path))
    if asked.as_json:
        found = {
            "to": restored.to.number,
            "revision": restored.revision,
            "undo": restored.undo,
            "files_restored": restored.files_restored,
            "files_removed": restored.files_removed,
            "problems": dict(restored.problems),
        }
        out.line(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(asked, restored, out, err)
    return FAILED if restored.problems else DONE


def _show(asked: Asked, restored: Restored, out: Terminal, err: Terminal) -> None:
    done = f"{count(restored.files_restored, 'file')} restored, {restored.files_removed:,} removed"
    out.line(f"{asked.name} is as at {restored.to}{f' in {restored.path}' if restored.path else ''}: {done}.")
    if restored.files_restored or restored.files_removed:
        path = f" {restored.path}" if restored.path else ""
        out.line(f"To undo it: vaporform-mcp restore {asked.name} {restored.undo}{path}")
    if restored.mirror_error is not None:
        err.line(f"warning: not mirrored yet: {restored.mirror_error}; a later sync repairs it", Style.DOUBTFUL)
    err.some([f"not restored: {path}: {why}" for path, why in restored.problems.items()], Style.BAD)


async def _find(settings: Settings, asked: Asked) -> Point:
    async with app.open_store(settings) as store:
        return await find(store, (await find_record(store, asked.name)).id, asked.to)


async def _restore(settings: Settings, err: Terminal, asked: Asked, to: Point, path: WorkspacePath) -> Restored:
    async with app.open_manager(settings) as manager:
        workspace = await manager.workspace(OWNER, parse_name(asked.name), wait_s=_WITHIN_S)
        with progress(err, "restoring") as on_progress:
            restored = await workspace.restore(to, path, wait_s=_WITHIN_S, on_progress=on_progress)
    if restored is None:
        raise SandboxUnavailable(
            f"the restore was not done within {_WITHIN_S / 3600:.0f} hour", hint="Repeat it: what is right stays."
        )
    return restored


def _is_wanted(err: Terminal, name: str, to: Point) -> bool:
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"all files of {name} would be made as they were at {to}, and there is nobody to ask",
            hint="Add --yes, or name a file or folder. What is there now stays in the history.",
        )
    err.line(f"Make all files of {name} as they were at {to}? What is there now stays in its history. [y/N]")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
