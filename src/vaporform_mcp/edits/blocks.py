"""Parsing of a diff made of SEARCH/REPLACE blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vaporform_mcp.errors import InvalidArgument

__all__ = ["FORM", "Block", "parse"]

FORM = """------- SEARCH
whole lines exactly as they are in the file
=======
the lines to put in their place
+++++++ REPLACE"""

_SEARCH = re.compile(r"(-{3,}|<{3,}) ?SEARCH>?[ \t]*")
_CUT = re.compile(r"={3,}[ \t]*")
_REPLACE = re.compile(r"(\+{3,}|>{3,}) ?REPLACE>?[ \t]*")
_CLOSES = {"-": "+", "<": ">"}
_USUAL_CUT = "======="
_MAX_READINGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Whole lines to look for and the lines to put in their place, without line endings.

    A body in which several lines look like the separator can be read in several ways (a heading underlined with
    `=`, a conflict marker). `others` holds the other readings; the file decides which of them is meant.
    """

    search: tuple[str, ...]
    replace: tuple[str, ...]
    others: tuple[Block, ...] = ()


def parse(diff: str) -> list[Block]:
    """The blocks of `diff`, at least one, in its order.

    A marker is three or more of its character and its word: `------- SEARCH`, `=======`, `+++++++ REPLACE`, or the
    older `<<<<<<< SEARCH` and `>>>>>>> REPLACE`. What stands between blocks is ignored. Line endings become LF.

    Raises:
        InvalidArgument: there is no block, or one lacks its separator or its end; the hint shows the right form.
    """
    lines = diff.replace("\r\n", "\n").split("\n")
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        if opening := _SEARCH.fullmatch(lines[at]):
            end = _end_of_block(lines, at, _CLOSES[opening[1][0]], len(blocks) + 1)
            blocks.append(_block(lines[at + 1 : end], len(blocks) + 1))
            at = end
        elif _REPLACE.fullmatch(lines[at]):
            raise _malformed(f"line {at + 1} of the diff is a REPLACE marker without a SEARCH marker before it")
        at += 1
    if not blocks:
        raise _malformed("the diff has no SEARCH/REPLACE block")
    return blocks


def _end_of_block(lines: Sequence[str], opening: int, closes: str, number: int) -> int:
    """The index of the REPLACE marker.

    One of the block's own style wins, so that a file which holds markers of the other style can be edited.
    """
    of_other_style: int | None = None
    for at in range(opening + 1, len(lines)):
        if closing := _REPLACE.fullmatch(lines[at]):
            if closing[1][0] == closes:
                return at
            of_other_style = of_other_style or at
        elif (again := _SEARCH.fullmatch(lines[at])) and (_CLOSES[again[1][0]] == closes or of_other_style):
            break
    if of_other_style:
        return of_other_style
    raise _malformed(f"block {number} of the diff has no REPLACE marker at its end")


def _block(body: Sequence[str], number: int) -> Block:
    cuts = [at for at, line in enumerate(body) if _CUT.fullmatch(line)][:_MAX_READINGS]
    if not cuts:
        raise _malformed(f"block {number} of the diff has no ======= line between SEARCH and REPLACE")
    usual = next((cut for cut in cuts if body[cut].rstrip() == _USUAL_CUT), cuts[0])
    others = tuple(_reading(body, cut) for cut in cuts if cut != usual)
    meant = _reading(body, usual)
    return Block(search=meant.search, replace=meant.replace, others=others)


def _reading(body: Sequence[str], cut: int) -> Block:
    return Block(search=_without_mark(body[:cut]), replace=_without_mark(body[cut + 1 :]))


def _without_mark(lines: Sequence[str]) -> tuple[str, ...]:
    """A file's byte order mark is kept whatever a block says, so here it would only hide or double it."""
    return tuple(line.removeprefix("\ufeff") if at == 0 else line for at, line in enumerate(lines))


def _malformed(what: str) -> InvalidArgument:
    return InvalidArgument(
        f"{what}; nothing was changed",
        hint=f"Send each change as a block of this form, its markers at the beginning of their lines:\n{FORM}",
    )
