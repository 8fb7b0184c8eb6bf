"""Which function does what was asked for, of the commands that work in a workspace's sandbox."""

from __future__ import annotations

import argparse
from pathlib import Path

from vaporform_mcp.cli import exchanging, restoring, snapshots
from vaporform_mcp.cli.terminal import Terminal
from vaporform_mcp.settings import Settings

__all__ = ["run_on_live"]


def run_on_live(asked: argparse.Namespace, settings: Settings, out: Terminal, err: Terminal) -> int:
    """Answers with the exit status."""
    if asked.command == "snapshots":
        if asked.action == "save":
            return snapshots.save_snapshot(settings, out, err, workspace=asked.workspace, name=asked.name)
        if asked.action == "delete":
            return snapshots.delete_snapshot(settings, out, err, name=asked.name, yes=asked.yes)
        return snapshots.list_snapshots(settings, out, as_json=asked.json)
    if asked.command == "restore":
        back = restoring.Asked(name=asked.name, to=asked.to, path=asked.path, yes=asked.yes, as_json=asked.json)
        return restoring.restore(settings, out, err, back)
    what = exchanging.Asked(
        folder=Path(asked.folder),
        name=asked.name,
        overwrite=asked.overwrite,
        dry_run=asked.dry_run,
        with_ignored=asked.command == "push" and asked.with_ignored,
        as_json=asked.json,
    )
    if asked.command == "push":
        return exchanging.push_folder(settings, out, err, what)
    return exchanging.pull_folder(settings, out, err, what)
