"""A bar that tells how far something long is: on a terminal alone, on stderr, and gone when it is done."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from vaporform_mcp.cli.terminal import Terminal
from vaporform_mcp.stores.base import OnProgress

__all__ = ["progress"]

_PAUSE_S = 0.1
_BAR = 24


@contextmanager
def progress(terminal: Terminal, what: str) -> Generator[OnProgress]:
    """Lends what is told how many of how many are done; a total of 0 is not known."""
    if not terminal.is_terminal:
        yield lambda done, total: None
        return
    started = time.monotonic()
    shown_at = 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - shown_at >= _PAUSE_S:
            shown_at = now
            terminal.rewrite(_line(what, done, total, now - started))

    try:
        yield show
    finally:
        terminal.rewrite("")


def _line(what: str, done: int, total: int, elapsed_s: float) -> str:
    if total <= 0:
        return f"{what}  {done:,}"
    share = min(1.0, done / total)
    filled = round(share * _BAR)
    left_s = elapsed_s / share - elapsed_s if share > 0 else 0.0
    left = f"  {int(left_s // 60)}:{int(left_s % 60):02} left" if elapsed_s > 2 else ""
    return f"{what}  [{'#' * filled}{'-' * (_BAR - filled)}] {share:4.0%}  {done:,} of {total:,}{left}"
