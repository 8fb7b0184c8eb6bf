"""`vaporform-mcp export --bundle` and `import`: a workspace with its history as one file, handed over and taken in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import anyio

from vaporform_mcp import app
from vaporform_mcp.app import OWNER
from vaporform_mcp.cli.progress import progress
from vaporform_mcp.cli.records import find_record
from vaporform_mcp.cli.statuses import DONE, FAILED
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.settings import Settings
from vaporform_mcp.stores.base import Store
from vaporform_mcp.tools.text import count, size
from vaporform_mcp.transfer.copying import Copied, Lost, copy_workspace
from vaporform_mcp.transfer.folders import told
from vaporform_mcp.transfer.importing import check_workspace, import_workspace
from vaporform_mcp.types import WorkspaceRecord, parse_name

__all__ = ["export_bundle", "import_bundle", "show_lost"]


def export_bundle(
    settings: Settings, out: Terminal, err: Terminal, *, name: str, file: Path, overwrite: bool, as_json: bool
) -> int:
    """Answers with the exit status: 0 only where the file has everything."""
    if file.resolve() == app.store_file(settings).resolve():
        raise InvalidArgument(
            f"{str(file)!r} is the store itself: a bundle in its place would be all that is left of it",
            hint="Name another file.",
        )
    copied = anyio.run(partial(_export, settings, err, name, file, overwrite=overwrite))
    if as_json:
        out.line(json.dumps({"workspace": name, "file": str(file), **asdict(copied)}, indent=2))
    else:
        out.line(f"{name}: {_amount(copied)} in {file}.")
        show_lost(name, copied.lost, err)
    return FAILED if copied.lost else DONE


async def _export(settings: Settings, err: Terminal, name: str, file: Path, *, overwrite: bool) -> Copied:
    async with app.open_store(settings) as store:
        record = await find_record(store, name)
        # What is of this machine alone means nothing in another's hands.
        handed = replace(record, sandbox_id=None, previews={}, isolation=None, spec=replace(record.spec, env={}))
        try:
            async with app.new_bundle(file, overwrite=overwrite) as bundle:
                with progress(err, "exporting") as on_progress:
                    return await copy_workspace(store, handed, bundle, on_progress)
        except OSError as error:
            raise told(error, f"the file {str(file)!r}") from error


def import_bundle(
    settings: Settings, out: Terminal, err: Terminal, *, file: Path, name: str | None, which: str | None, as_json: bool
) -> int:
    record, copied = anyio.run(partial(_import, settings, err, file, name, which))
    called = name or record.name
    if as_json:
        out.line(json.dumps({"workspace": called, **asdict(copied)}, indent=2))
    else:
        out.line(f"{called} is there: {_amount(copied)}.")
    return DONE


async def _import(
    settings: Settings, err: Terminal, file: Path, name: str | None, which: str | None
) -> tuple[WorkspaceRecord, Copied]:
    async with app.open_bundle(file) as bundle, app.open_store(settings) as store:
        record = await _choose(bundle, which)
        called = parse_name(name or record.name)
        with progress(err, "checking") as on_progress:
            await check_workspace(bundle, record, on_progress)
        with progress(err, "importing") as on_progress:
            copied = await import_workspace(
                bundle, record, store, owner=OWNER, name=called, provider=settings.sandbox, on_progress=on_progress
            )
        return record, copied


async def _choose(bundle: Store, which: str | None) -> WorkspaceRecord:
    found = await bundle.list_workspaces(OWNER)
    chosen = [record for record in found if which is None or record.name == which]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(sorted(record.name for record in found)) or "none"
    raise InvalidArgument(
        f"the file has these workspaces: {names}", hint="Name one of them: `import FILE NAME --workspace ONE`."
    )


def show_lost(name: str, lost: Sequence[Lost], err: Terminal) -> None:
    why = "its content is missing or damaged"
    err.some([f"lost: {name}: {each.path} of revision {each.revision}: {why}" for each in lost], Style.BAD)


def _amount(copied: Copied) -> str:
    return f"{count(copied.revisions, 'revision')}, {count(copied.contents, 'content')}, {size(copied.size_bytes)}"
