"""A short unified diff of two texts, whatever their size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

__all__ = ["hunks", "unified"]

_MAX_COMPARED_LINES = 3_000  # for each side, without what both share at the ends: comparing costs their product
_CONTEXT_LINES = 3
_MAX_CHARS = 8_000
_MAX_LINE_CHARS = 500
_NO_NEWLINE = "\\ No newline at end of file"


def unified(before: str, after: str, path: str) -> str:
    """What changed from `before` to `after`, in the unified format; "" where nothing did.

    What is over 8,000 characters is left out at a line, and the last line says how much. Where too much changed to be
    compared in reasonable time, one line says so instead of a hunk.
    """
    if before == after:
        return ""
    rows = [f"--- {path}", f"+++ {path}", *map(_shown, _hunks(_lines(before), _lines(after), is_rough=True))]
    kept: list[str] = []
    room = _MAX_CHARS
    for row in rows:
        room -= len(row) + 1
        if room < 0:
            return "\n".join([*kept, f"... ({len(rows) - len(kept)} more lines of diff)"])
        kept.append(row)
    return "\n".join(kept)


def hunks(before: str, after: str) -> Iterator[str]:
    """The hunks alone, to the letter and whole, without line ends: with a header that names the files, a patch.

    Where too much changed to be compared in reasonable time, all of it is replaced.
    """
    return _hunks(_lines(before), _lines(after), is_rough=False)


def _lines(text: str) -> list[str]:
    """Lines with their LF: other characters that Python takes for line ends are content."""
    *ended, rest = text.split("\n")
    return [f"{line}\n" for line in ended] + ([rest] if rest else [])


def _hunks(old: Sequence[str], new: Sequence[str], *, is_rough: bool) -> Iterator[str]:
    first = _common(old, new)
    last = _common(old[first:][::-1], new[first:][::-1])
    start = max(0, first - _CONTEXT_LINES)
    kept = max(0, last - _CONTEXT_LINES)
    a, b = old[start : len(old) - kept], new[start : len(new) - kept]
    if a and b and max(len(a), len(b)) > _MAX_COMPARED_LINES:
        whole = f"@@ -{_range(start, len(a))} +{_range(start, len(b))} @@"
        if is_rough:
            yield f"{whole} (too many changed lines to show)"
        else:
            yield from [whole, *_rows("-", a), *_rows("+", b)]
        return
    for group in SequenceMatcher(None, a, b).get_grouped_opcodes(_CONTEXT_LINES):
        (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
        yield f"@@ -{_range(start + i1, i2 - i1)} +{_range(start + j1, j2 - j1)} @@"
        for tag, i1, i2, j1, j2 in group:
            yield from _rows(" " if tag == "equal" else "-", a[i1:i2])
            if tag != "equal":
                yield from _rows("+", b[j1:j2])


def _rows(sign: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield sign + line.removesuffix("\n")
        if not line.endswith("\n"):
            yield _NO_NEWLINE


def _shown(row: str) -> str:
    row = row.rstrip("\r")
    return row if len(row) <= _MAX_LINE_CHARS + 1 else row[: _MAX_LINE_CHARS + 1] + "…"


def _range(start: int, size: int) -> str:
    """`start` counts from 0. A range of no lines names the line before it, as in the format's definition."""
    return f"{start + 1}" if size == 1 else f"{start + (1 if size else 0)},{size}"


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines both begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
