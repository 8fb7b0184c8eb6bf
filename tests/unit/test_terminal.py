"""What people read fits their terminal, and is plain where nothing else can be shown."""

from __future__ import annotations

import io

import pytest

from vaporform_mcp.cli.progress import progress
from vaporform_mcp.cli.terminal import Style, Terminal


class Screen(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def shown(self) -> str:
        self.seek(0)
        return self.read()


def test_colours_are_for_terminals_alone() -> None:
    screen, file = Screen(), Screen(is_terminal=False)
    for stream in (screen, file):
        Terminal(stream, {"TERM": "xterm"}).line("done", Style.GOOD)
    assert screen.shown == "\x1b[32mdone\x1b[0m\n"
    assert file.shown == "done\n"


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_a_terminal_without_colours_gets_none(environment: dict[str, str]) -> None:
    screen = Screen()
    Terminal(screen, environment).line("done", Style.GOOD)
    assert screen.shown == "done\n"


def test_what_is_not_ascii_is_replaced_where_it_cannot_be_shown() -> None:
    screen = Screen("ascii", is_terminal=False)
    Terminal(screen, {}).line("wait… “café” \u2014 ok")
    assert screen.shown == 'wait... "caf?" - ok\n'


def test_nothing_that_is_shown_can_steer_the_terminal() -> None:
    screen = Screen(is_terminal=False)
    terminal = Terminal(screen, {})
    terminal.line("a\x1b]0;title\x07b\x9bc")
    terminal.labelled("name", "x\x1b[31my")
    terminal.apart("l\x1b[2J", "r")
    assert not set(screen.shown) & {"\x1b", "\x07", "\x9b"}


def test_lines_stay_within_80_columns_where_they_can_be_broken() -> None:
    screen = Screen(is_terminal=False)
    terminal = Terminal(screen, {})
    terminal.paragraph("word " * 60, indent="    ")
    terminal.labelled("label", "word " * 60)
    terminal.apart("call " * 60, "12 ms")
    assert max(len(line) for line in screen.shown.splitlines()) <= 80
    assert screen.shown.splitlines()[-1].endswith("...  12 ms")


def test_what_has_no_place_to_break_stays_whole() -> None:
    screen = Screen(is_terminal=False)
    url = "https://example.com/" + "a" * 100
    Terminal(screen, {}).paragraph(f"see {url}")
    assert url in screen.shown.splitlines()


def test_a_table_has_its_columns_under_their_heads() -> None:
    screen = Screen(is_terminal=False)
    Terminal(screen, {}).table(("NAME", "STATE"), [("todo-app", "running"), ("x", "stopped")])
    assert screen.shown.splitlines() == ["NAME      STATE", "todo-app  running", "x         stopped"]


def test_a_bar_is_for_terminals_alone_and_is_gone_when_it_is_done() -> None:
    screen, file = Screen(), Screen(is_terminal=False)
    for stream in (screen, file):
        with progress(Terminal(stream, {"TERM": "xterm"}), "verifying") as on_progress:
            on_progress(50, 200)
    bar, _, after = screen.shown.partition("50 of 200")
    assert bar == "\r\x1b[Kverifying  [######------------------]  25%  "
    assert after == "\r\x1b[K"
    assert file.shown == ""
