"""`vaporform-mcp verify` and `prune`: the store is whole, and keeps what is wanted."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import anyio

from vaporform_mcp import app
from vaporform_mcp.care.damage import Affected, affected_by
from vaporform_mcp.care.pruning import Pruned, Wanted, prune_all
from vaporform_mcp.care.retention import Retention
from vaporform_mcp.cli.progress import progress
from vaporform_mcp.cli.records import all_records, find_record
from vaporform_mcp.cli.statuses import DONE, FAILED
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.settings import Settings
from vaporform_mcp.stores.base import VerifyReport
from vaporform_mcp.tools.text import count, size

__all__ = ["prune", "verify", "wanted"]

_HOUR_S = 3600.0
_SHORT = 12  # digits of a digest that tell it apart for a person


def verify(settings: Settings, out: Terminal, err: Terminal, *, name: str | None, as_json: bool) -> int:
    """Answers with the exit status: 0 only where everything is whole."""
    report, affected = anyio.run(partial(_verify, settings, err, name))
    bad = len(report.missing) + len(report.corrupt)
    if as_json:
        found = {**asdict(report), "affected": [asdict(each) for each in affected]}
        out.line(json.dumps(found, indent=2, ensure_ascii=False))
    elif not bad:
        out.line(f"All whole: {count(report.blobs, 'content')}, {size(report.size_bytes)}, each read and hashed.")
    else:
        out.line(f"{count(len(report.missing), 'content')} missing, {len(report.corrupt)} damaged:", Style.BAD)
        _show_affected(report, affected, out)
        out.paragraph(
            "Everything else is whole. A file that a sandbox still has comes back by writing it again as it is; for an "
            "older one, `export --at` another revision."
        )
    return FAILED if bad else DONE


async def _verify(settings: Settings, err: Terminal, name: str | None) -> tuple[VerifyReport, Sequence[Affected]]:
    async with app.open_store(settings) as store:
        record = None if name is None else await find_record(store, name)
        with progress(err, "verifying") as on_progress:
            report = await store.verify(None if record is None else record.id, on_progress=on_progress)
        bad = {*report.missing, *report.corrupt}
        records = await all_records(store) if record is None else [record]
        affected = [one for each in records for one in await affected_by(store, each, bad)] if bad else []
        return report, affected


def _show_affected(report: VerifyReport, affected: Sequence[Affected], out: Terminal) -> None:
    missing = set(report.missing)
    rows = [
        (each.workspace, each.path, _span(each), "missing" if each.digest in missing else "damaged",
         each.digest[:_SHORT])
        for each in affected
    ]  # fmt: skip
    named = {each.digest for each in affected}
    rows += [
        ("(none)", "", "", "missing" if digest in missing else "damaged", digest[:_SHORT])
        for digest in (*report.missing, *report.corrupt)
        if digest not in named
    ]
    out.table(("WORKSPACE", "PATH", "REVISIONS", "CONTENT", "DIGEST"), rows)


def _span(each: Affected) -> str:
    if each.last is None:
        return f"{each.first} to now"
    return str(each.first) if each.last == each.first else f"{each.first} to {each.last}"


def wanted(keep_days: float | None, keep_last: int | None, grace_hours: float, *, dry_run: bool) -> Wanted:
    """What the options of `prune` mean together."""
    retention = None
    if keep_days is not None or keep_last is not None:
        retention = Retention(last=keep_last or 1, days=keep_days or 0.0)
    return Wanted(retention=retention, grace_s=grace_hours * _HOUR_S, dry_run=dry_run)


def prune(settings: Settings, out: Terminal, err: Terminal, asked: Wanted, *, name: str | None, as_json: bool) -> int:
    found = anyio.run(partial(_prune, settings, err, asked, name))
    if as_json:
        out.line(json.dumps({**asdict(found), "dry_run": asked.dry_run}, indent=2))
        return DONE
    for each, revisions in found.workspaces.items():
        if revisions:
            out.line(f"{each}: {count(revisions, 'revision')}")
    did = "Would drop" if asked.dry_run else "Dropped"
    # What two of them share and both would give up is not in the forecast of either.
    least = "at least " if asked.dry_run and len(found.workspaces) > 1 else ""
    contents = f"{least}{count(found.blobs, 'content')}, {size(found.size_bytes)}"
    out.line(f"{did} {count(found.revisions, 'revision')} and {contents}.")
    return DONE


async def _prune(settings: Settings, err: Terminal, asked: Wanted, name: str | None) -> Pruned:
    async with app.open_store(settings) as store:
        records = await all_records(store) if name is None else [await find_record(store, name)]
        with progress(err, "pruning") as on_progress:
            return await prune_all(store, records, asked, now=time.time(), on_progress=on_progress)
