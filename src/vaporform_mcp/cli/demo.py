"""`vaporform-mcp demo`: the main job, shown step by step."""

from __future__ import annotations

from functools import partial

import anyio

from vaporform_mcp.cli.statuses import DONE, FAILED, INTERRUPTED, USAGE
from vaporform_mcp.cli.terminal import Style, Terminal
from vaporform_mcp.demo import Differs, Outcome, Step, parse_source, run_demo
from vaporform_mcp.settings import Settings

__all__ = ["show_demo"]

_INDENT = "      "


class _Shown:
    """Shows the demo's progress; see `Teller`."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def fact(self, name: str, value: str) -> None:
        self._terminal.labelled(f"  {name}", value, label_width=16)

    def chapter(self, title: str) -> None:
        self._terminal.line()
        self._terminal.paragraph(title, style=Style.STRONG)

    def step(self, step: Step) -> None:
        mark = "ok" if step.is_right else "NO"
        called = f"  {mark}  {step.action} {step.about}".rstrip()
        self._terminal.apart(called, _time(step.seconds), Style.GOOD if step.is_right else Style.BAD)
        outcome = step.outcome or "no outcome"
        self._terminal.paragraph(outcome, indent=_INDENT, style=None if step.is_right else Style.BAD)

    def note(self, text: str) -> None:
        self._terminal.paragraph(text, indent=_INDENT, style=Style.DOUBTFUL)


def show_demo(settings: Settings, terminal: Terminal, *, source: str | None, keep: bool) -> int:
    """Run the demo; answers with the exit status: 0 only where everything was as it should be."""
    terminal.paragraph(
        "A scripted client starts the real server over stdio and does what an agent would do.", style=Style.STRONG
    )
    try:
        parsed = parse_source(source) if source is not None else None
    except Differs as error:
        terminal.paragraph(str(error), style=Style.BAD)
        return USAGE

    is_up = False

    async def wait(url: str) -> None:
        nonlocal is_up
        is_up = True
        terminal.line()
        terminal.paragraph(f"The preview is up at {url} until you press Ctrl-C.", style=Style.STRONG)
        await anyio.sleep_forever()

    run = partial(run_demo, settings, _Shown(terminal), source=parsed, keep=wait if keep else None)
    try:
        outcome = anyio.run(run)
    except KeyboardInterrupt:
        terminal.line()
        return DONE if is_up else INTERRUPTED
    return _summarise(outcome, terminal)


def _summarise(outcome: Outcome, terminal: Terminal) -> int:
    terminal.line()
    if outcome.difference is None:
        terminal.paragraph(
            f"Everything was as it should be: {outcome.calls} tool calls, {outcome.seconds:.1f} s in all.",
            style=Style.GOOD,
        )
        return DONE
    terminal.paragraph(f"Not as it should be, after {outcome.calls} tool calls and {outcome.seconds:.1f} s:")
    terminal.paragraph(outcome.difference, indent="  ", style=Style.BAD)
    terminal.paragraph("`vaporform-mcp doctor` examines this machine and says how to mend what it finds.")
    return FAILED


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
