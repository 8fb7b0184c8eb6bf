"""`vaporform-mcp history` and `diff`: what was done to a workspace, as its mirror has it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

import anyio

from vaporform_mcp import app
from vaporform_mcp.cli.records import find_record
from vaporform_mcp.cli.statuses import DONE
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.history import BEGINNING, FileChange, changes_between, find, newest, patches, point_before
from vaporform_mcp.settings import Settings
from vaporform_mcp.tools.output import clean, cut_line
from vaporform_mcp.tools.text import moment
from vaporform_mcp.types import Revision, parse_path

__all__ = ["diff", "history"]

_MOST_MADE_BY = 60
_STYLES = {"+": Style.GOOD, "-": Style.BAD, "@": Style.FAINT, "d": Style.STRONG}


def history(settings: Settings, out: Terminal, *, name: str, path: str | None, limit: int, as_json: bool) -> int:
    """Revisions, newest first."""
    found = anyio.run(partial(_history, settings, name, path, limit))
    if as_json:
        out.line(json.dumps([_facts(each) for each in found], indent=2, ensure_ascii=False))
    elif not found:
        out.line("There is no revision yet." if path is None else f"No revision touched {path}.")
    else:
        heads = ("REVISION", "TIME", "ADDED", "CHANGED", "REMOVED", "CHECKPOINT", "MADE BY")
        out.table(heads, [_row(each) for each in found])
    return DONE


async def _history(settings: Settings, name: str, path: str | None, limit: int) -> Sequence[Revision]:
    under = parse_path(path or "", allow_root=True)
    async with app.open_store(settings) as store:
        record = await find_record(store, name)
        return await store.log(record.id, path=under or None, limit=limit)


def diff(
    settings: Settings, out: Terminal, *, name: str, start: str | None, end: str | None, path: str | None, as_json: bool
) -> int:
    """A patch that `git apply` takes, unless there are binary files in it; written as it is read."""
    anyio.run(partial(_diff, settings, out, name, start, end, path, as_json=as_json))
    return DONE


async def _diff(
    settings: Settings,
    out: Terminal,
    name: str,
    start: str | None,
    end: str | None,
    path: str | None,
    *,
    as_json: bool,
) -> None:
    under = parse_path(path or "", allow_root=True)
    async with app.open_store(settings) as store:
        workspace_id = (await find_record(store, name)).id
        after = await (newest(store, workspace_id) if end is None else find(store, workspace_id, end))
        if start is not None:
            before = await find(store, workspace_id, start)
        else:
            before = await point_before(store, workspace_id, after.number) if after.number else BEGINNING
        changes = await changes_between(store, workspace_id, before.number, after.number, under=under)
        if as_json:
            found = {"from": before.number, "to": after.number, "files": [_change_facts(each) for each in changes]}
            out.line(json.dumps(found, indent=2, ensure_ascii=False))
            return
        async with aclosing(patches(store, changes)) as shown:
            async for patch in shown:
                for line in patch.split("\n"):
                    out.verbatim(line, _STYLES.get(line[:1]))


def _facts(each: Revision) -> dict[str, str | int | None]:
    return {
        "number": each.number,
        "time": moment(each.time),
        "made_by": each.made_by,
        "label": each.label,
        "added": each.added,
        "changed": each.changed,
        "removed": each.removed,
    }


def _change_facts(each: FileChange) -> dict[str, str | None]:
    return {
        "path": each.path,
        "status": each.status,
        "before": each.before.digest if each.before else None,
        "after": each.after.digest if each.after else None,
    }


def _row(each: Revision) -> Sequence[str]:
    made_by = cut_line(" ".join(clean(each.made_by).split()), _MOST_MADE_BY)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.time))
    counts = [str(number) if number else "" for number in (each.added, each.changed, each.removed)]
    return (str(each.number), at, *counts, each.label or "", made_by)
