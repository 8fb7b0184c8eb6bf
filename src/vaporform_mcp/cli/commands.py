"""The commands for people, each with the settings and the terminal that it needs."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from types import FrameType

import anyio

from vaporform_mcp import app
from vaporform_mcp.app import SandboxStatus
from vaporform_mcp.cli.serving import configure_logging
from vaporform_mcp.cli.statuses import DONE, FAILED, INTERRUPTED, USAGE
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.errors import VaporformError
from vaporform_mcp.settings import InvalidSettings, Settings, host_environment, load
from vaporform_mcp.tools.text import size
from vaporform_mcp.types import parse_name
from vaporform_mcp.workspace.results import Summary

__all__ = ["run"]


def run(asked: argparse.Namespace) -> int:
    """Do what was asked; answers with the exit status."""
    out, err = (Terminal(stream, host_environment()) for stream in (sys.stdout, sys.stderr))
    try:
        settings = load()
    except InvalidSettings as error:
        return _faulty(error, asked, out, err)
    configure_logging(settings.log_level)
    _end_cleanly_when_told()
    try:
        return _run(asked, settings, out, err)
    except VaporformError as error:
        # A script that reads it gets each on one line.
        tell = err.paragraph if err.is_terminal else err.line
        tell(f"vaporform-mcp: {error.message}", style=Style.BAD)
        tell(error.hint)
        return FAILED
    except BrokenPipeError:
        # Whoever read the output has seen enough. What is still buffered must not be tried again at the exit.
        sys.stdout = None
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED


def _end_cleanly_when_told() -> None:
    """Ended by a supervisor or with its terminal, a command undoes what is half done, as it does at Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


def _faulty(error: InvalidSettings, asked: argparse.Namespace, out: Terminal, err: Terminal) -> int:
    if asked.command == "doctor":
        from vaporform_mcp.cli.doctor import show_faulty_settings

        return show_faulty_settings(error.message, out, as_json=asked.json)
    err.paragraph(f"vaporform-mcp cannot start. {error.hint}", style=Style.BAD)
    err.paragraph(error.message, indent="  ")
    return USAGE


def _run(asked: argparse.Namespace, settings: Settings, out: Terminal, err: Terminal) -> int:
    match asked.command:
        case "push" | "pull" | "restore" | "snapshots":
            from vaporform_mcp.cli.live import run_on_live

            return run_on_live(asked, settings, out, err)
        case "history" | "diff" | "export" | "import" | "copy" | "verify" | "prune":
            from vaporform_mcp.cli.stored import run_on_store

            return run_on_store(asked, settings, out, err)
        case "demo":
            from vaporform_mcp.cli.demo import show_demo

            return show_demo(settings, out, source=asked.source, keep=asked.keep)
        case "doctor":
            from vaporform_mcp.cli.doctor import show_doctor

            return show_doctor(settings, out, online=asked.online, as_json=asked.json)
        case "ps":
            return _ps(settings, out, as_json=asked.json)
        case "stop":
            return _stop(settings, out, name=asked.name)
        case "workspaces":
            return _workspaces(settings, out, as_json=asked.json)
        case _:
            return _undelete(settings, out, name=asked.name)


def _ps(settings: Settings, out: Terminal, *, as_json: bool) -> int:
    found = _live(settings)
    if as_json:
        out.line(json.dumps([asdict(each) for each in found], indent=2))
    elif not found:
        out.line("No sandbox runs.")
    else:
        rows = [
            (
                each.workspace or "(none)",
                each.state,
                str(each.servers),
                str(each.processes),
                _duration(each.uptime_s) if each.state == "running" else "",
                str(each.pid or ""),
            )
            for each in found
        ]
        out.table(("WORKSPACE", "STATE", "SERVERS", "PROCESSES", "UP FOR", "PID"), rows)
    return DONE


def _stop(settings: Settings, out: Terminal, *, name: str | None) -> int:
    wanted = parse_name(name) if name is not None else None
    found = [each for each in _live(settings) if wanted is None or wanted in (each.workspace, _called(each))]
    for each in found:
        anyio.run(app.stop_sandbox, settings, each)
        out.line(f"Ended the sandbox of {each.workspace or 'no workspace'}. Its files stay.")
    if not found:
        out.line("No sandbox runs." if wanted is None else f"No sandbox of {wanted} runs.")
    return DONE if found or wanted is None else FAILED


def _called(sandbox: SandboxStatus) -> str:
    """As errors about limits name it, where no workspace may have it."""
    return f"vaporform-{sandbox.workspace_id}-{sandbox.epoch}"


def _workspaces(settings: Settings, out: Terminal, *, as_json: bool) -> int:
    running = {each.workspace for each in _live(settings)}
    found = anyio.run(app.list_workspaces, settings)
    if as_json:
        out.line(json.dumps([{**asdict(each), "state": _state(each, running)} for each in found], indent=2))
    elif not found:
        out.line("There is no workspace yet.")
    else:
        rows = [
            (
                each.name,
                _state(each, running),
                str(each.revision),
                str(each.files),
                size(each.size),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(each.last_used)),
            )
            for each in found
        ]
        out.table(("WORKSPACE", "STATE", "REVISION", "FILES", "SIZE", "LAST USED"), rows)
    return DONE


def _undelete(settings: Settings, out: Terminal, *, name: str) -> int:
    summary = anyio.run(partial(app.undelete_workspace, settings, parse_name(name)))
    out.line(f"{summary.name} is back: {summary.files} files, at revision {summary.revision}.")
    return DONE


def _live(settings: Settings) -> Sequence[SandboxStatus]:
    return [each for each in anyio.run(app.sandboxes, settings) if each.state != "stopped"]


def _state(summary: Summary, running: set[str | None]) -> str:
    """The manager of this process has nothing open, so whether a sandbox runs is told by the machine."""
    if summary.state == "deleted":
        return "deleted"
    return "running" if summary.name in running else "stopped"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    shown = [f"{number}{unit}" for number, unit in parts if number]
    return " ".join(shown[:2]) or "0s"
