"""`vaporform-mcp copy`: workspaces with their histories, from one of the two stores into the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Literal

import anyio

from vaporform_mcp import app
from vaporform_mcp.app import OWNER
from vaporform_mcp.cli.bundles import show_lost
from vaporform_mcp.cli.progress import progress
from vaporform_mcp.cli.records import find_record
from vaporform_mcp.cli.statuses import DONE, FAILED
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.errors import Conflict, InvalidArgument
from vaporform_mcp.settings import Settings
from vaporform_mcp.tools.text import count, size
from vaporform_mcp.transfer.copying import Copied, copy_workspace

__all__ = ["copy"]


Kind = Literal["sqlite", "mongo"]


def copy(settings: Settings, out: Terminal, err: Terminal, *, to: Kind, names: Sequence[str], as_json: bool) -> int:
    """Answers with the exit status: 0 only where the target now has all that was asked for, whole."""
    if not settings.mongo.uri.get_secret_value():
        raise InvalidArgument(
            "it is not known where the MongoDB store is",
            hint="Set VAPORFORM_MONGO__URI (or MONGODB_URI) to mongodb://user:password@host/, then repeat.",
        )
    copied, refused = anyio.run(partial(_copy, settings, err, to, names))
    if as_json:
        found = {"to": to, "copied": {name: asdict(each) for name, each in copied.items()}, "refused": dict(refused)}
        out.line(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for name, each in copied.items():
            amount = f"{count(each.revisions, 'revision')}, {count(each.contents, 'content')}, {size(each.size_bytes)}"
            out.line(f"{name}: {amount if each.revisions else 'nothing new'}")
            show_lost(name, each.lost, err)
        for name, why in refused.items():
            err.line(f"not copied: {name}: {why}", Style.BAD)
        out.paragraph(
            f"Servers go on with the store that they were started with. Stop them, repeat this for what they wrote "
            f"meanwhile, and start them with VAPORFORM_STORE={to}."
        )
    return FAILED if refused or any(each.lost for each in copied.values()) else DONE


async def _copy(
    settings: Settings, err: Terminal, to: Kind, names: Sequence[str]
) -> tuple[Mapping[str, Copied], Mapping[str, str]]:
    origin: Kind = "sqlite" if to == "mongo" else "mongo"
    copied: dict[str, Copied] = {}
    refused: dict[str, str] = {}
    async with app.open_store(_with(settings, origin)) as source, app.open_store(_with(settings, to)) as target:
        if names:
            records = [await find_record(source, name) for name in names]
        else:
            records = await source.list_workspaces(OWNER)
        for record in records:
            try:
                with progress(err, f"copying {record.name}") as on_progress:
                    copied[record.name] = await copy_workspace(source, record, target, on_progress)
            except Conflict as error:
                refused[record.name] = f"{error.message}. {error.hint}"
    return copied, refused


def _with(settings: Settings, store: Kind) -> Settings:
    return settings.model_copy(update={"store": store})
