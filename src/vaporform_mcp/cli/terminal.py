"""Output for people: wrapped to the terminal, coloured only on one, plain ASCII where nothing else can be shown."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TextIO

__all__ = ["Style", "Terminal"]

_WIDTH = range(40, 101)
_MOST_NAMED = 50
_ASCII = str.maketrans(
    {"\u2026": "...", "\u2013": "-", "\u2014": "-", "\u00d7": "x", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
)
# What a sandbox printed or a file is named must not steer the terminal.
_CONTROLS = dict.fromkeys((*range(0x0A), *range(0x0B, 0x20), 0x7F, *range(0x80, 0xA0)))


class Style(StrEnum):
    """What a piece of text is; the values are the terminal's codes."""

    STRONG = "1"
    FAINT = "2"
    BAD = "31"
    GOOD = "32"
    DOUBTFUL = "33"


class Terminal:
    """Writes lines to a stream. A reader who has gone away (`| head`) is no error."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()
        self._has_colour = (
            self.is_terminal and not environment.get("NO_COLOR") and environment.get("TERM", "") not in {"", "dumb"}
        )
        self._has_unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
        columns = shutil.get_terminal_size((80, 24)).columns if self.is_terminal else 80
        self.width = min(max(columns, _WIDTH.start), _WIDTH.stop - 1)

    def line(self, text: str = "", style: Style | None = None) -> None:
        """One line as it is."""
        self._write(self._styled(text, style) + "\n")

    def verbatim(self, text: str, style: Style | None = None) -> None:
        """One line for a program that reads it, byte for byte in UTF-8; on a terminal only what cannot steer it."""
        if self.is_terminal:
            self.line(text.expandtabs(), style)
            return
        self._stream.flush()
        self._stream.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
        self._stream.buffer.flush()

    def paragraph(self, text: str, *, indent: str = "", style: Style | None = None) -> None:
        """Lines wrapped at words, each behind `indent`. What has no place to break is left whole."""
        for given in text.splitlines() or [""]:
            wrapped = textwrap.wrap(
                given, self.width, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip
            for each in wrapped or [""]:
                self.line(each, style)

    def labelled(self, label: str, text: str, *, label_width: int = 14, style: Style | None = None) -> None:
        """A label and, beside it, a text that is wrapped within its own column."""
        wrapped = textwrap.wrap(
            text, max(20, self.width - label_width), break_long_words=False, break_on_hyphens=False
        ) or [""]
        for number, each in enumerate(wrapped):
            shown = label.ljust(label_width) if number == 0 else " " * label_width
            self._write(self._styled(shown, Style.STRONG if style is None else style) + self._styled(each, None) + "\n")

    def apart(self, left: str, right: str, style: Style | None = None) -> None:
        """`left` at the left margin and `right` at the right one; `left` is cut where both do not fit."""
        room = self.width - len(right) - 2
        shown = left if len(left) <= room else left[: max(0, room - 3)] + "..."
        self._write(self._styled(shown, style) + " " * (self.width - len(shown) - len(right)) + right + "\n")

    def some(self, lines: Sequence[str], style: Style | None = None) -> None:
        """Of lines that may be many the first; how many more there are is told."""
        for each in lines[:_MOST_NAMED]:
            self.line(each, style)
        if len(lines) > _MOST_NAMED:
            self.line(f"and {len(lines) - _MOST_NAMED:,} more", style)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as what is in them; the last one is as wide as it is."""
        widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
        for number, row in enumerate((heads, *rows)):
            cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self.line(cells, Style.STRONG if number == 0 else None)

    def rewrite(self, text: str) -> None:
        """In the place of what was shown last by this, on a terminal: a line without an end, "" to clear it."""
        self._write("\r\x1b[K" + text.translate(_CONTROLS)[: self.width - 1])

    def _styled(self, text: str, style: Style | None) -> str:
        text = text.translate(_CONTROLS)
        return f"\x1b[{style}m{text}\x1b[0m" if style is not None and self._has_colour and text.strip() else text

    def _write(self, text: str) -> None:
        if not self._has_unicode:
            text = text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
        self._stream.write(text)
        self._stream.flush()
