"""`vaporform-mcp doctor`: what the examination found, for people or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

import anyio

from vaporform_mcp import __version__
from vaporform_mcp.cli.statuses import DONE, FAILED, USAGE
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.doctor import Check, Report, State, examine
from vaporform_mcp.settings import Settings

__all__ = ["show_doctor", "show_faulty_settings"]

_MARKS = {
    State.OK: ("ok", Style.GOOD),
    State.WARNING: ("!!", Style.DOUBTFUL),
    State.FAILED: ("NO", Style.BAD),
    State.SKIPPED: ("--", Style.FAINT),
}
_INDENT = " " * 6


def show_doctor(settings: Settings, terminal: Terminal, *, online: bool, as_json: bool) -> int:
    """Examine this machine; answers with the exit status: 0 only where an agent can work here."""
    report = anyio.run(partial(examine, settings, online=online))
    return _show(report, terminal, as_json=as_json)


def show_faulty_settings(faults: str, terminal: Terminal, *, as_json: bool) -> int:
    """What is said where nothing can be examined, since the settings themselves are wrong."""
    check = Check(
        name="settings",
        state=State.FAILED,
        finding="the settings cannot be used",
        details=faults.splitlines(),
        mend=["Mend these variables in the environment that the server is started with."],
    )
    _show(Report(checks=[check]), terminal, as_json=as_json)
    return USAGE


def _show(report: Report, terminal: Terminal, *, as_json: bool) -> int:
    if as_json:
        found = {"version": __version__, "usable": report.is_usable, "checks": [asdict(each) for each in report.checks]}
        terminal.line(json.dumps(found, indent=2))
    else:
        for check in report.checks:
            _show_check(check, terminal)
        terminal.line()
        said = "An agent can work here." if report.is_usable else "An agent cannot work here until that is mended."
        terminal.paragraph(said, style=Style.GOOD if report.is_usable else Style.BAD)
    return DONE if report.is_usable else FAILED


def _show_check(check: Check, terminal: Terminal) -> None:
    mark, style = _MARKS[check.state]
    terminal.labelled(f"  {mark}  {check.name}", check.finding, label_width=18, style=style)
    for each in check.details:
        terminal.paragraph(each, indent=_INDENT, style=Style.FAINT)
    if check.mend:
        terminal.line(f"{_INDENT}To mend it:", Style.STRONG)
    for each in check.mend:
        # Not wrapped, so that it can be copied as it is.
        for line in each.splitlines():
            terminal.line(_INDENT + line if "\n" not in each else line)
