"""Where a block's lines are in a file: exactly, but for whitespace, or between the same first and last line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice

__all__ = ["Lines", "Span", "similarity"]

_MAX_CANDIDATES = 50
_MIN_ANCHORED_LINES = 3
# Anchors alone say little (`{` … `}`): below this likeness the lines between them are another text.
_MIN_ANCHORED_SIMILARITY = 0.6
_MAX_COMPARED_LINES = 24
_MAX_COMPARED_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Lines from `start` up to but without `stop`, counted from 0."""

    start: int
    stop: int

    def __str__(self) -> str:
        """As people count lines: from 1, the last one included."""
        return f"line {self.stop}" if self.stop - self.start == 1 else f"lines {self.start + 1}-{self.stop}"

    def overlaps(self, other: Span) -> bool:
        return self.start < other.stop and other.start < self.stop


class Lines:
    """A file's lines without their endings, ready to be searched."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self._joined: dict[Callable[[str], str], str] = {}

    def exact(self, wanted: Sequence[str]) -> Iterator[Span]:
        return self._equal(wanted, str)

    def but_for_line_ends(self, wanted: Sequence[str]) -> Iterator[Span]:
        return self._equal(wanted, str.rstrip)

    def but_for_whitespace(self, wanted: Sequence[str]) -> Iterator[Span]:
        return self._equal(wanted, str.strip)

    def anchored(self, wanted: Sequence[str]) -> Iterator[Span]:
        """Spans of as many lines whose first and last are the wanted ones and whose middle is much like them."""
        size = len(wanted)
        first, last = wanted[0].strip(), wanted[-1].strip()
        if size < _MIN_ANCHORED_LINES or not first or not last:
            return
        candidates = (
            start
            for start in range(len(self.lines) - size + 1)
            if self.lines[start].strip() == first and self.lines[start + size - 1].strip() == last
        )
        for start in islice(candidates, _MAX_CANDIDATES):
            middle = self.lines[start + 1 : start + size - 1]
            if similarity(wanted[1:-1], middle) >= _MIN_ANCHORED_SIMILARITY:
                yield Span(start=start, stop=start + size)

    def _equal(self, wanted: Sequence[str], key: Callable[[str], str]) -> Iterator[Span]:
        """Spans whose lines are equal under `key`. Searching one string costs a pass, whatever the lines are."""
        if key not in self._joined:
            self._joined[key] = "".join(f"\n{key(line)}" for line in self.lines) + "\n"
        joined = self._joined[key]
        needle = "".join(f"\n{key(line)}" for line in wanted) + "\n"
        line, at = 0, 0
        while (found := joined.find(needle, at)) >= 0:
            line += joined.count("\n", at, found)
            yield Span(start=line, stop=line + len(wanted))
            line, at = line + 1, found + 1


def similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """How alike two runs of lines are, line by line, from 0 to 1; whitespace around a line does not count."""
    pairs = list(islice(zip(one, other, strict=False), _MAX_COMPARED_LINES))
    if not pairs:
        return 1.0
    return sum(_alike(a.strip()[:_MAX_COMPARED_CHARS], b.strip()[:_MAX_COMPARED_CHARS]) for a, b in pairs) / len(pairs)


def _alike(one: str, other: str) -> float:
    return 1.0 if one == other else SequenceMatcher(None, one, other, autojunk=False).ratio()
