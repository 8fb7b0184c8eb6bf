"""`vaporform-mcp export`: a workspace's files as the store has them, in a folder."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from vaporform_mcp import app
from vaporform_mcp.cli.progress import progress
from vaporform_mcp.cli.records import find_record
from vaporform_mcp.cli.statuses import DONE, FAILED
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.history import find, newest
from vaporform_mcp.settings import Settings
from vaporform_mcp.tools.text import count
from vaporform_mcp.transfer.exporting import export_tree
from vaporform_mcp.transfer.folders import Folder, open_folder, told
from vaporform_mcp.transfer.staging import staged
from vaporform_mcp.types import WorkspacePath

__all__ = ["export"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exported:
    workspace: str
    revision: int
    files: int
    problems: Mapping[WorkspacePath, str]


def export(
    settings: Settings,
    out: Terminal,
    err: Terminal,
    *,
    name: str,
    destination: Path,
    at: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Answers with the exit status: 0 only where every file is there."""
    done = anyio.run(partial(_export, settings, err, name, destination, at, overwrite=overwrite))
    if as_json:
        found = {
            "workspace": done.workspace,
            "revision": done.revision,
            "files": done.files,
            "problems": dict(done.problems),
        }
        out.line(json.dumps(found, indent=2))
    else:
        out.line(f"{done.workspace} at revision {done.revision}: {count(done.files, 'file')} in {destination}.")
        err.some([f"not written: {path}: {why}" for path, why in sorted(done.problems.items())], Style.BAD)
    return FAILED if done.problems else DONE


async def _export(
    settings: Settings, err: Terminal, name: str, destination: Path, at: str | None, *, overwrite: bool
) -> _Exported:
    async with app.open_store(settings) as store:
        record = await find_record(store, name)
        point = await (newest(store, record.id) if at is None else find(store, record.id, at))
        tree = await store.tree(record.id, point.number)
        with _target(destination, overwrite=overwrite) as folder, progress(err, "exporting") as on_progress:
            problems = await export_tree(store, tree, folder, mtime=point.time, on_progress=on_progress)
        return _Exported(
            workspace=record.name, revision=point.number, files=len(tree) - len(problems), problems=problems
        )


@contextmanager
def _target(destination: Path, *, overwrite: bool) -> Generator[Folder]:
    try:
        if overwrite and destination.exists():
            with open_folder(destination, to_write=True) as folder:
                yield folder
        else:
            with staged(destination) as folder:
                yield folder
    except OSError as error:
        raise told(error, f"the folder {str(destination)!r}") from error
