"""`vaporform-mcp push` and `pull`: a person's folder and a workspace, each brought up to date from the other."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from vaporform_mcp import app
from vaporform_mcp.app import OWNER
from vaporform_mcp.cli.progress import progress
from vaporform_mcp.cli.records import find_record, no_record
from vaporform_mcp.cli.statuses import DONE, FAILED
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.errors import InvalidArgument, SandboxLost, SandboxUnavailable
from vaporform_mcp.exclusions import Exclusions
from vaporform_mcp.settings import Settings
from vaporform_mcp.tools.text import count
from vaporform_mcp.transfer.exchange import Memory
from vaporform_mcp.transfer.folders import Folder, open_folder, told
from vaporform_mcp.transfer.live import LiveTarget
from vaporform_mcp.transfer.pulling import Exchanged, pull
from vaporform_mcp.transfer.pushing import Local, push, read_local
from vaporform_mcp.types import Entry, WorkspaceName, WorkspacePath, parse_name
from vaporform_mcp.workspace.core import Workspace

__all__ = ["Asked", "pull_folder", "push_folder"]

_READY_WITHIN_S = 300.0
_NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asked for: `name` None stands for the folder's own."""

    folder: Path
    name: str | None
    overwrite: bool
    dry_run: bool
    with_ignored: bool = False
    as_json: bool = False


def push_folder(settings: Settings, out: Terminal, err: Terminal, asked: Asked) -> int:
    """Answers with the exit status: 0 only where the workspace now has everything that the folder has."""
    name = parse_name(asked.name) if asked.name is not None else _name_of(asked.folder)
    done, unmirrored = anyio.run(partial(_push, settings, err, asked, name))
    return _show(asked, done, unmirrored, f"{name} from {asked.folder}", "the workspace", out, err)


def pull_folder(settings: Settings, out: Terminal, err: Terminal, asked: Asked) -> int:
    """Answers with the exit status: 0 only where the folder now has everything that the workspace has."""
    done, unmirrored = anyio.run(partial(_pull, settings, err, asked))
    return _show(asked, done, unmirrored, f"{asked.folder} from {asked.name}", "the folder", out, err)


async def _push(
    settings: Settings, err: Terminal, asked: Asked, name: WorkspaceName
) -> tuple[Exchanged, Sequence[str]]:
    folder = _folder(settings, asked.folder)
    rules = Exclusions(settings.mirror.exclude)
    with _opened(folder) as opened:
        with progress(err, "reading") as on_progress:
            local = await read_local(opened, rules, with_ignored=asked.with_ignored, on_progress=on_progress)
        if asked.dry_run:
            return await _forecast(settings, asked, name, folder, local), ()
        async with _workspace(settings, name) as workspace:
            memory = Memory(settings.data_dir, workspace.record.id, folder)
            target = LiveTarget(workspace, f"push: {folder.name}")
            with progress(err, "pushing") as on_progress:
                done = await push(local, target, memory, overwrite=asked.overwrite, on_progress=on_progress)
            return done, target.problems


async def _forecast(settings: Settings, asked: Asked, name: WorkspaceName, folder: Path, local: Local) -> Exchanged:
    """By the mirror alone: nothing is made for it."""
    record, tree = None, dict[WorkspacePath, Entry]()
    async with app.open_store_to_look(settings) as store:
        if store is not None and (record := await store.get_workspace(OWNER, name)) is not None:
            tree = dict(await store.tree(record.id))
    memory = Memory(settings.data_dir, "" if record is None else record.id, folder)
    return Exchanged(plan=local.plan(tree, memory, overwrite=asked.overwrite), problems=local.problems)


async def _pull(settings: Settings, err: Terminal, asked: Asked) -> tuple[Exchanged, Sequence[str]]:
    folder = _folder(settings, asked.folder, may_miss=True)
    async with app.open_store_to_look(settings) if asked.dry_run else app.open_store(settings) as store:
        if store is None:
            raise no_record(parse_name(asked.name or ""), ())
        record = await find_record(store, asked.name or "")
        unmirrored: Sequence[str] = ()
        if not asked.dry_run:
            unmirrored = await _synced(settings, record.name)
        tree = await store.tree(record.id)
        memory = Memory(settings.data_dir, record.id, folder)
        go = partial(pull, store, tree, memory=memory, overwrite=asked.overwrite, dry_run=asked.dry_run)
        if asked.dry_run and not folder.exists():
            return await go(folder=None), unmirrored
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise told(error, f"the folder {str(folder)!r}") from error
        with _opened(folder, to_write=True) as opened, progress(err, "pulling") as on_progress:
            return await go(folder=opened, on_progress=on_progress), unmirrored


async def _synced(settings: Settings, name: WorkspaceName) -> Sequence[str]:
    """What the sandbox has is mirrored first; answers with what of it is not.

    Where the sandbox cannot be had, the mirror is what there is.
    """
    try:
        async with _workspace(settings, name) as workspace:
            return (await workspace.sync(made_by="pull")).problems
    except (SandboxUnavailable, SandboxLost) as error:
        return [f"whatever was not mirrored before, since the sandbox cannot be had: {error.message}. {error.hint}"]


@asynccontextmanager
async def _workspace(settings: Settings, name: WorkspaceName) -> AsyncGenerator[Workspace]:
    async with app.open_manager(settings) as manager:
        yield await manager.workspace(OWNER, name, wait_s=_READY_WITHIN_S)


def _folder(settings: Settings, given: Path, *, may_miss: bool = False) -> Path:
    folder = given.expanduser().resolve()
    if not folder.is_dir() and not (may_miss and not folder.exists()):
        raise InvalidArgument(f"{str(given)!r} is no folder", hint="Name a folder of this machine.")
    if settings.data_dir.resolve().is_relative_to(folder):
        raise InvalidArgument(
            f"{str(given)!r} holds this program's own data folder", hint="Name the folder of one project."
        )
    return folder


@contextmanager
def _opened(folder: Path, *, to_write: bool = False) -> Generator[Folder]:
    try:
        with open_folder(folder, to_write=to_write) as opened:
            yield opened
    except OSError as error:
        raise told(error, f"the folder {str(folder)!r}") from error


def _name_of(folder: Path) -> WorkspaceName:
    raw = _NO_NAME.sub("-", folder.expanduser().resolve().name.lower()).strip("-")[:40].strip("-")
    if not raw:
        raise InvalidArgument(f"no name can be made of {str(folder)!r}", hint="Give one: `push FOLDER NAME`.")
    return parse_name(raw)


def _show(
    asked: Asked, done: Exchanged, unmirrored: Sequence[str], what: str, there: str, out: Terminal, err: Terminal
) -> int:
    plan, problems = done.plan, done.problems
    is_all = not (plan.kept or problems or unmirrored)
    failed = [path for path in (*plan.write, *plan.remove) if path in problems]
    written = [path for path in plan.write if path not in problems]
    removed = [path for path in plan.remove if path not in problems]
    if asked.as_json:
        found = {
            "dry_run": asked.dry_run,
            "written": written,
            "removed": removed,
            "kept": {each.path: each.why for each in plan.kept},
            "problems": dict(problems),
            "unmirrored": list(unmirrored),
        }
        out.line(json.dumps(found, indent=2, ensure_ascii=False))
        return DONE if is_all else FAILED
    if asked.dry_run:
        for path in written:
            out.line(f"write   {path}")
        for path in removed:
            out.line(f"remove  {path}")
    would = "would be " if asked.dry_run else ""
    out.line(f"{what}: {count(len(written), 'file')} {would}written, {len(removed)} {would}removed.")
    err.some([f"kept: {each.path}: {each.why}" for each in plan.kept], Style.DOUBTFUL)
    if plan.kept:
        err.line(f"What is kept stays as it is in {there}; --overwrite replaces it.")
    told = [f"{'failed' if path in failed else 'left out'}: {path}: {why}" for path, why in problems.items()]
    err.some(told, Style.DOUBTFUL)
    err.some([f"not in the mirror: {each}" for each in unmirrored], Style.DOUBTFUL)
    return DONE if is_all else FAILED
