"""Applying SEARCH/REPLACE blocks to a text, all of them or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from vaporform_mcp.edits.blocks import Block
from vaporform_mcp.edits.indentation import reindented
from vaporform_mcp.edits.matching import Lines, Span
from vaporform_mcp.edits.nearest import describe_nearest
from vaporform_mcp.errors import Ambiguous, InvalidArgument, NotFound, VaporformError

__all__ = ["Edited", "apply"]

_BOM = "\ufeff"
_MAX_TOLD = 3
_MAX_CANDIDATES = 10

_Tier = Callable[[Sequence[str]], Iterator[Span]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """The new text, how many blocks were applied, and a sentence for each whose place was not certain."""

    text: str
    replacements: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replacement:
    span: Span
    lines: Sequence[str]
    note: str = ""


class _Line(NamedTuple):
    text: str
    end: str  # "" for a last line without a newline


def apply(text: str, blocks: Sequence[Block], *, path: str = "the file") -> Edited:
    """Replace the lines that each block looks for; every block is matched against `text` as it was given.

    Whole lines are compared. Exact lines win: the first ones after the previous block's, else the first in the
    file. Lines that are equal but for whitespace count where only one place has them, and the replacement takes the
    file's indentation; so does a block of three or more lines of which the first and last are equal and the others
    much alike. A block that looks for nothing gives the whole content of an empty file. Line endings, the byte
    order mark and the presence of a final newline stay as they are. `path` is for messages only.

    Raises:
        NotFound: a block's lines are not in the text; the message shows the nearest ones and what differs.
        Ambiguous: several places have them but for whitespace; the message names their lines.
        InvalidArgument: a block looks for nothing in a file that is not empty, or for what another one replaces.
    """
    mark = _BOM if text.startswith(_BOM) else ""
    body = text[len(mark) :]
    if not body.strip() and len(blocks) == 1 and (whole := _whole_content(blocks[0])) is not None:
        return Edited(text=mark + "".join(f"{line}\n" for line in whole), replacements=1)
    lines = _split(body)
    found = _Finder(Lines([line.text for line in lines])).find_all(blocks, path)
    return Edited(
        text=mark + _joined(lines, sorted(found, key=lambda each: each.span.start)),
        replacements=len(found),
        notes=tuple(each.note for each in found if each.note),
    )


def _whole_content(block: Block) -> tuple[str, ...] | None:
    """What the block puts where it looks for nothing; None where it looks for something."""
    readings = (block, *block.others)
    return next((each.replace for each in readings if not any(line.strip() for line in each.search)), None)


class _Finder:
    """Finds the blocks of one call; what an earlier one replaces is out of a later one's reach."""

    def __init__(self, file: Lines) -> None:
        self._file = file
        self._taken: list[Span] = []
        self._tolerant: Sequence[tuple[_Tier, str]] = (
            (file.but_for_line_ends, "but for whitespace at line ends"),
            (file.but_for_whitespace, "but for whitespace"),
            (file.anchored, "by its first and last line"),
        )

    def find_all(self, blocks: Sequence[Block], path: str) -> list[_Replacement]:
        found: list[_Replacement] = []
        failures: list[VaporformError] = []
        for number, block in enumerate(blocks, 1):
            try:
                found.append(self._find(block, f"block {number} of {len(blocks)}", path))
            except VaporformError as error:
                failures.append(error)
            else:
                self._taken.append(found[-1].span)
            if len(failures) == _MAX_TOLD:
                break
        if failures:
            raise _together(failures, are_all=len(found) + len(failures) == len(blocks))
        return found

    def _find(self, block: Block, name: str, path: str) -> _Replacement:
        # The longest search first: where it fits, a separator inside it was content.
        readings = sorted((block, *block.others), key=lambda each: -len(each.search))
        readings = [each for each in readings if any(line.strip() for line in each.search)]
        if not readings:
            raise InvalidArgument(
                f"{name}: its SEARCH is empty, but {path} is not; nothing was changed",
                hint="Put the lines to be replaced, or a line next to the new ones, in SEARCH. "
                "To replace a whole file use write_to_file.",
            )
        for reading in readings:
            if span := self._first(self._file.exact(reading.search)):
                note = f"{name} matched {span}, one of several equal places" if self._is_repeated(reading, span) else ""
                return _Replacement(span=span, lines=reading.replace, note=note)
        for tier, how in self._tolerant:
            if replacement := self._only(tier, how, readings, name, path):
                return replacement
        raise self._missed(block if any(line.strip() for line in block.search) else readings[0], name, path)

    def _first(self, spans: Iterator[Span]) -> Span | None:
        """The first one after the previous block's, else the first of all."""
        position = self._taken[-1].stop if self._taken else 0
        earlier: Span | None = None
        for span in spans:
            if self._is_free(span):
                if span.start >= position:
                    return span
                earlier = earlier or span
        return earlier

    def _is_repeated(self, reading: Block, span: Span) -> bool:
        return any(other != span for other in filter(self._is_free, self._file.exact(reading.search)))

    def _only(self, tier: _Tier, how: str, readings: Sequence[Block], name: str, path: str) -> _Replacement | None:
        several: list[Span] = []
        for reading in readings:
            spans = list(islice(filter(self._is_free, tier(reading.search)), _MAX_CANDIDATES))
            if len(spans) == 1:
                there = self._file.lines[spans[0].start : spans[0].stop]
                return _Replacement(
                    span=spans[0],
                    lines=reindented(reading.replace, search=reading.search, there=there),
                    note=f"{name} matched {spans[0]} {how}",
                )
            several = several or spans
        if several:
            places = ", ".join(str(span) for span in several)
            more = " and more" if len(several) == _MAX_CANDIDATES else ""
            raise Ambiguous(
                f"{name}: its SEARCH text is not in {path} exactly, and {how} it fits {places}{more}; "
                "nothing was changed",
                hint="Copy the lines exactly as they are in the file, with more of the lines around them.",
            )
        return None

    def _missed(self, block: Block, name: str, path: str) -> VaporformError:
        if taken := next(self._file.exact(block.search), None):
            return InvalidArgument(
                f"{name}: its SEARCH text is at {taken} of {path}, which an earlier block already replaces; "
                "nothing was changed",
                hint="Join the two blocks into one. Each SEARCH is compared with the file as it was before the call.",
            )
        told = describe_nearest(self._file, block.search, block.replace)
        return NotFound(
            f"{name}: its SEARCH text is not in {path}; nothing was changed. {told}",
            hint="Copy whole lines of the file exactly into SEARCH; read the file again if it may have changed.",
        )

    def _is_free(self, span: Span) -> bool:
        return not any(span.overlaps(taken) for taken in self._taken)


def _together(failures: Sequence[VaporformError], *, are_all: bool) -> VaporformError:
    """One error that tells of the first few, so that they can be mended in one more call."""
    first = failures[0]
    if len(failures) == 1:
        return first
    told = [failure.message for failure in failures]
    if not are_all:
        told.append("... the blocks after it were not looked for")
    return type(first)("\n\n".join(told), hint=first.hint)


def _split(body: str) -> list[_Line]:
    """By LF and CRLF only: other characters that Python takes for line ends are content."""
    *ended, rest = body.split("\n")
    lines = [_Line(text=each[:-1], end="\r\n") if each.endswith("\r") else _Line(text=each, end="\n") for each in ended]
    return [*lines, _Line(text=rest, end="")] if rest else lines


def _joined(lines: Sequence[_Line], replacements: Sequence[_Replacement]) -> str:
    usual = Counter(line.end for line in lines if line.end).most_common(1)
    result: list[_Line] = []
    at = 0
    for each in replacements:
        result.extend(lines[at : each.span.start])
        end = lines[each.span.start].end or (usual[0][0] if usual else "\n")
        result.extend(_Line(text=text, end=end) for text in each.lines)
        at = each.span.stop
    result.extend(lines[at:])
    if result and not lines[-1].end:
        result[-1] = _Line(text=result[-1].text, end="")
    return "".join(line.text + line.end for line in result)
