"""What a command printed, as text worth reading: without the terminal's controls, and within a limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["MAX_OUTPUT_CHARS", "Shown", "clean", "cut_line", "fit", "last_line", "show", "within"]

MAX_OUTPUT_CHARS = 30_000

T = TypeVar("T")

# ECMA-48 control sequences, operating system commands (titles, links) up to their end, and the other escapes. Bounded,
# so that output made to be slow to match is not.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b[ -/]{1,4}[0-~]|\x1b[0-~]?"
)
_OVERSTRUCK = re.compile(r"[^\x08\n]\x08")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LINE_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Output to show. `omitted_bytes` were left out between `head` and `tail`; where none were, all is in `head`."""

    head: str
    tail: str
    omitted_bytes: int


def show(head: bytes, tail: bytes, omitted_bytes: int) -> Shown:
    """Decode and clean what is kept of an output, and cut its middle so that at most `MAX_OUTPUT_CHARS` stay."""
    if omitted_bytes:
        begin, end = clean(_whole_characters(head)), clean(tail.decode("utf-8", "replace").lstrip("\ufffd"))
    else:
        begin, end = clean((head + tail).decode("utf-8", "replace")), ""
    if len(begin) + len(end) <= MAX_OUTPUT_CHARS:
        return Shown(head=begin, tail=end, omitted_bytes=omitted_bytes)
    # The end of an output says how it ended: it gets the larger share.
    joined_end = end or begin
    keep_head = min(len(begin), MAX_OUTPUT_CHARS // 3)
    keep_tail = min(len(joined_end), MAX_OUTPUT_CHARS - keep_head)
    dropped = begin[keep_head:] + end[: len(end) - keep_tail] if end else begin[keep_head : len(begin) - keep_tail]
    return Shown(
        head=begin[:keep_head],
        tail=joined_end[len(joined_end) - keep_tail :],
        omitted_bytes=omitted_bytes + len(dropped.encode()),
    )


def clean(printed: str) -> str:
    """Without escape sequences, controls and what was overwritten: each line as a terminal would show it in the end."""
    if "\x1b" in printed:
        printed = _ESCAPES.sub("", printed)
    if "\r" in printed:
        printed = "\n".join(_last_state(line) for line in printed.replace("\r\n", "\n").split("\n"))
    for _ in range(64):
        if "\x08" not in printed:
            break
        printed = _OVERSTRUCK.sub("", printed)
    return _CONTROLS.sub("", printed)


def last_line(data: bytes) -> str:
    """The last line with anything on it, "" where there is none."""
    for line in reversed(clean(data[-_LINE_TAIL_BYTES:].decode("utf-8", "ignore")).split("\n")):
        if line.strip():
            return line.strip()
    return ""


def cut_line(line: str, limit: int) -> str:
    """A line of at most `limit` characters."""
    return line if len(line) <= limit else line[: limit - 1] + "…"


def fit(text: str, limit: int) -> str:
    """`text` with its middle cut out, saying so, where it is over `limit` characters."""
    if len(text) <= limit:
        return text
    keep = limit - 100
    left_out = len(text) - keep
    return f"{text[: keep // 2]}\n[… {left_out:,} characters left out …]\n{text[len(text) - (keep - keep // 2) :]}"


def within(items: Sequence[T], room: int, width: Callable[[T], int]) -> Sequence[T]:
    """The first of the items, as many as together are at most `room` wide."""
    for number, item in enumerate(items):
        room -= width(item)
        if room < 0:
            return items[:number]
    return items


def _last_state(line: str) -> str:
    """What a line redrawn with carriage returns shows in the end."""
    states = [state for state in line.split("\r") if state.strip()]
    return states[-1] if states else ""


def _whole_characters(head: bytes) -> str:
    """Decoded without the character that the cut went through."""
    return head.decode("utf-8", "replace").removesuffix("\ufffd")
