"""What to tell the author of a block whose lines are not in the file."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from vaporform_mcp.edits.matching import Lines, Span, similarity

__all__ = ["describe_nearest"]

_MIN_SIMILARITY = 0.4
_MAX_SHOWN_LINES = 24
_MAX_SHOWN_CHARS = 160
_MAX_SEARCHED_LINES = 60
_MAX_TOKEN_LINES = 200  # a word that stands on more lines than this says nothing about where we are
_MAX_CANDIDATES = 5
_TOKEN = re.compile(r"\w{2,}")
_NUMBERED = re.compile(r"\s*\d+ ?[|:\t]")


def describe_nearest(file: Lines, search: Sequence[str], replace: Sequence[str]) -> str:
    """Sentences, and rows of text where they help; at most about 4,500 characters."""
    said: list[str] = []
    if any(line.strip() for line in replace) and (there := next(file.exact(replace), None)):
        said.append(f"Its REPLACE text is already there, at {there}: perhaps this change has been made.")
    if all(_NUMBERED.match(line) for line in search if line.strip()):
        said.append("Its SEARCH lines begin with line numbers, which are not part of the file.")
    near = _nearest(file.lines, search)
    if near is None:
        said.append("Nothing in the file is much like it.")
    else:
        said.append(f"Nearest: {near} (- is SEARCH, + is the file):")
        said.extend(_differences(file.lines, search, near))
    return "\n".join(said)


def _nearest(lines: Sequence[str], search: Sequence[str]) -> Span | None:
    latest = max(0, len(lines) - len(search))  # later, fewer lines would be compared and look the more alike
    spans = [
        Span(start=start, stop=min(start + len(search), len(lines)))
        for start in sorted({min(start, latest) for start in _starts(lines, search)})
    ]
    scores = [similarity(search, lines[span.start : span.stop]) for span in spans]
    best = max(scores, default=0.0)
    return spans[scores.index(best)] if best >= _MIN_SIMILARITY else None


def _starts(lines: Sequence[str], search: Sequence[str]) -> list[int]:
    """Where the search would begin if its words stood where the file has them; the most likely places only."""
    offsets: defaultdict[str, list[int]] = defaultdict(list)
    for offset, line in enumerate(search[:_MAX_SEARCHED_LINES]):
        for token in set(_TOKEN.findall(line)):
            offsets[token].append(offset)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        for token in offsets.keys() & set(_TOKEN.findall(line)):
            if len(places[token]) <= _MAX_TOKEN_LINES:
                places[token].append(number)
    votes: Counter[int] = Counter()
    for token, found in places.items():
        if len(found) <= _MAX_TOKEN_LINES:
            votes.update({max(0, number - offset) for number in found for offset in offsets[token]})
    return [start for start, _ in votes.most_common(_MAX_CANDIDATES)]


def _differences(lines: Sequence[str], search: Sequence[str], near: Span) -> Iterator[str]:
    slack = max(2, len(search) // 4)
    window = lines[near.start : min(near.stop + slack, near.start + 10 * _MAX_SHOWN_LINES)]
    wanted = search[: 10 * _MAX_SHOWN_LINES]
    matcher = SequenceMatcher(None, [line.strip() for line in wanted], [line.strip() for line in window])
    rows: list[str] = []
    opcodes = matcher.get_opcodes()
    for tag, a, b, c, d in opcodes:
        if tag == "equal":
            rows.extend(_row(near.start + c + at, " ", line) for at, line in enumerate(window[c:d]))
            continue
        rows.extend(_row(None, "-", line) for line in wanted[a:b])
        # What follows the last line that is common is there only because the window is generous.
        if (tag, a, b, c, d) != opcodes[-1] or tag == "replace":
            rows.extend(_row(near.start + c + at, "+", line) for at, line in enumerate(window[c : min(d, c + b - a)]))
        if b - a == 1:
            rows.extend(_lookalikes(wanted[a].strip(), window[c].strip() if c < d else ""))
    yield from rows[:_MAX_SHOWN_LINES]
    if len(rows) > _MAX_SHOWN_LINES:
        yield f"... ({len(rows) - _MAX_SHOWN_LINES} more rows)"


def _row(number: int | None, sign: str, line: str) -> str:
    shown = line if len(line) <= _MAX_SHOWN_CHARS else line[:_MAX_SHOWN_CHARS] + "…"
    return f"{'' if number is None else number + 1:>6} {sign} {shown}".rstrip()


def _lookalikes(wanted: str, there: str) -> Iterator[str]:
    """Name the first character that differs where a reader could not see it."""
    for a, b in zip(wanted, there, strict=False):
        if a != b:
            if not (a.isascii() and b.isascii()):
                yield f"       (the file has U+{ord(b):04X} where SEARCH has U+{ord(a):04X})"
            return
