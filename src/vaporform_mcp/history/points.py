"""Points of a workspace's history: a revision by its number or by the label of a checkpoint."""

from __future__ import annotations

import difflib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from vaporform_mcp.errors import InvalidArgument, NotFound
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Revision

__all__ = ["BEGINNING", "MAX_LABEL_CHARS", "Point", "before", "find", "latest_checkpoint", "newest", "parse_label"]

MAX_LABEL_CHARS = 100
MAX_NAMED = 5
MAX_SEARCHED = 10_000
"""How many revisions back checkpoints are looked for, where no index of labels can tell."""

_PAGE = 500
_MAX_COMPARED = 500
_NUMBER = re.compile(r"#?(\d{1,18})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place in a history. Number 0 is the beginning: the empty tree before the first revision.

    `time` is seconds since the Unix epoch, None at the beginning.
    """

    number: int
    label: str | None = None
    time: float | None = None

    def __str__(self) -> str:
        if self.number == 0:
            return "the beginning"
        return f"revision {self.number}" + (f" ({self.label})" if self.label else "")


BEGINNING = Point(number=0)


def parse_label(raw: str) -> str:
    """A checkpoint's label, without the space around it.

    Raises:
        InvalidArgument: it is empty, too long, has control characters, or would be taken for a revision's number.
    """
    label = raw.strip()
    if not label or len(label) > MAX_LABEL_CHARS or _CONTROL.search(label):
        raise InvalidArgument(
            f"a label has 1 to {MAX_LABEL_CHARS} characters in one line", hint="Use a short name, such as login-works."
        )
    if _NUMBER.fullmatch(label):
        raise InvalidArgument(
            f"{label!r} would be taken for the number of a revision", hint="Use a label with a letter in it."
        )
    return label


async def find(store: Store, workspace_id: str, raw: str) -> Point:
    """The revision of that number or, newest first, of that label; 0 is the beginning.

    Raises:
        NotFound: there is none; the hint names the nearest there are.
        InvalidArgument: it is neither a number nor a label.
    """
    if number := _NUMBER.fullmatch(raw.strip()):
        return await _numbered(store, workspace_id, int(number[1]))
    label = parse_label(raw)
    revision = await store.labelled(workspace_id, label)
    if revision is None:
        raise NotFound(f"no revision has the label {label!r}", hint=await _near_labels(store, workspace_id, label))
    return _point(revision)


async def newest(store: Store, workspace_id: str) -> Point:
    """The newest revision; the beginning where there is none."""
    return await before(store, workspace_id, None)


async def before(store: Store, workspace_id: str, number: int | None) -> Point:
    """The newest revision below that number that is kept; the beginning where there is none."""
    revisions = await store.log(workspace_id, before=number, limit=1)
    return _point(revisions[0]) if revisions else BEGINNING


async def latest_checkpoint(store: Store, workspace_id: str) -> Point | None:
    """The newest revision that bears a label, among the latest `MAX_SEARCHED`."""
    async for revision in _checkpoints(store, workspace_id):
        return _point(revision)
    return None


async def _numbered(store: Store, workspace_id: str, number: int) -> Point:
    if number == 0:
        return BEGINNING
    at_or_below = await before(store, workspace_id, number + 1)
    if at_or_below.number == number:
        return at_or_below
    latest = await newest(store, workspace_id)
    if latest.number == 0:
        raise NotFound(f"there is no revision {number}", hint="There is none yet: nothing has been mirrored.")
    if latest.number < number:
        raise NotFound(f"there is no revision {number} yet", hint=f"The newest is {latest}.")
    above = await _above(store, workspace_id, number, latest)
    near = f"{at_or_below} and {above}" if at_or_below.number else f"{above}, the oldest"
    raise NotFound(f"revision {number} was pruned", hint=f"The nearest that are kept: {near}.")


async def _above(store: Store, workspace_id: str, number: int, latest: Point) -> Point:
    """The oldest kept revision above `number`, by bisection: a store tells of those below a number only."""
    low, found = number, latest
    while found.number - low > 1:
        middle = (low + found.number) // 2
        point = await before(store, workspace_id, middle + 1)
        if point.number > number:
            found = point
        else:
            low = middle
    return found


async def _near_labels(store: Store, workspace_id: str, label: str) -> str:
    labels = [str(revision.label) async for revision in _checkpoints(store, workspace_id)]
    latest = await newest(store, workspace_id)
    if not labels:
        return f"There is no checkpoint; give the number of a revision, the newest of which is {latest.number}."
    folded = {each.lower(): each for each in reversed(labels[:_MAX_COMPARED])}
    near = [folded[each] for each in difflib.get_close_matches(label.lower(), folded, n=MAX_NAMED, cutoff=0.5)]
    if near:
        return f"Near it: {', '.join(near)}. The newest revision is {latest}."
    named = ", ".join(list(dict.fromkeys(labels))[:MAX_NAMED])
    return f"The latest labels: {named}. The newest revision is {latest}."


async def _checkpoints(store: Store, workspace_id: str) -> AsyncIterator[Revision]:
    number: int | None = None
    for _ in range(MAX_SEARCHED // _PAGE):
        page = await store.log(workspace_id, before=number, limit=_PAGE)
        for revision in page:
            if revision.label is not None:
                yield revision
        if len(page) < _PAGE:
            return
        number = page[-1].number


def _point(revision: Revision) -> Point:
    return Point(number=revision.number, label=revision.label, time=revision.time)
