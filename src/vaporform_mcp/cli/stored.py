"""Which function does what was asked for, of the commands that work on a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from vaporform_mcp.cli.bundles import export_bundle, import_bundle
from vaporform_mcp.cli.care import prune, verify, wanted
from vaporform_mcp.cli.copying import copy
from vaporform_mcp.cli.exporting import export
from vaporform_mcp.cli.looking import diff, history
from vaporform_mcp.cli.statuses import USAGE
from vaporform_mcp.cli.terminal import Terminal
from vaporform_mcp.settings import Settings

__all__ = ["run_on_store"]


def run_on_store(asked: argparse.Namespace, settings: Settings, out: Terminal, err: Terminal) -> int:
    """Answers with the exit status."""
    match asked.command:
        case "history":
            return history(settings, out, name=asked.name, path=asked.path, limit=asked.limit, as_json=asked.json)
        case "diff":
            return diff(
                settings, out, name=asked.name, start=asked.start, end=asked.end, path=asked.path, as_json=asked.json
            )
        case "export" if asked.bundle is not None and asked.at is not None:
            err.paragraph("vaporform-mcp export: a bundle has the whole history; --at is for a folder.")
            return USAGE
        case "export" if asked.bundle is not None:
            file = Path(asked.bundle)
            return export_bundle(
                settings, out, err, name=asked.name, file=file, overwrite=asked.overwrite, as_json=asked.json
            )
        case "export":
            return export(
                settings,
                out,
                err,
                name=asked.name,
                destination=Path(asked.destination),
                at=asked.at,
                overwrite=asked.overwrite,
                as_json=asked.json,
            )
        case "import":
            file = Path(asked.file)
            return import_bundle(
                settings, out, err, file=file, name=asked.name, which=asked.workspace, as_json=asked.json
            )
        case "copy":
            return copy(settings, out, err, to=asked.to, names=asked.names, as_json=asked.json)
        case "verify":
            return verify(settings, out, err, name=asked.name, as_json=asked.json)
        case _:
            rules = wanted(asked.keep_days, asked.keep_last, asked.grace_hours, dry_run=asked.dry_run)
            return prune(settings, out, err, rules, name=asked.name, as_json=asked.json)
