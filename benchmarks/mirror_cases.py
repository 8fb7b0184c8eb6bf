"""Copies of projects: the mirror's beside those of others, in projects of any size."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.copies import GIT, Copier, CopyFailed, Rival, program, source
from benchmarks.mirrored import mirror
from benchmarks.samples import OURS, Row, Target, turns

__all__ = ["COMPARED_FILES", "WATCHED_FILES", "copies"]

COMPARED_FILES = 10_000
WATCHED_FILES = 100_000
WATCHED_MS = 20.0
AGAIN = 5


@dataclass(slots=True, kw_only=True)
class _CopyRows:
    """Of one size of project."""

    count: int
    first: Row = field(init=False)
    again: Row = field(init=False)
    restore: Row = field(init=False)

    def __post_init__(self) -> None:
        like_git = Target(limit=1.0, relative=True) if self.count == COMPARED_FILES else None
        watched = Target(limit=WATCHED_MS, relative=False) if self.count == WATCHED_FILES else None
        self.first = _row("first", f"First copy of {self.count:,} files", like_git)
        self.again = _row("again", f"Ten changes in {self.count:,} files", like_git or watched)
        self.restore = _row("restore", f"All {self.count:,} files back", None)


async def copies(folder: Path, rivals: Sequence[Rival], count: int, rounds: int, notes: list[str]) -> Sequence[Row]:
    """Every one in its turn, each on its own new copy; one that fails is missing from that round, and told."""
    rows = _CopyRows(count=count)
    subjects: Sequence[Rival | None] = (None, *rivals)
    for number, rival in enumerate(turns(subjects, rounds)):
        name = OURS if rival is None else rival.name
        own = folder / f"{count}-{number}"
        own.mkdir()
        try:
            async with AsyncExitStack() as stack:
                seed = number // len(subjects)
                if rival is None:
                    copier = await stack.enter_async_context(mirror(own, count, seed))
                else:
                    made = await stack.enter_async_context(source(own, count, seed))
                    copier = await stack.enter_async_context(program(rival, made, own, count))
                await _copy(copier, name, rows)
        except CopyFailed as error:
            notes.append(f"{name}, {count:,} files: {error}")
    return (rows.first, rows.again, rows.restore)


async def _copy(copier: Copier, name: str, rows: _CopyRows) -> None:
    rows.first.add(name, await copier.first() * 1000)
    for turn in range(1, AGAIN + 1):
        rows.again.add(name, await copier.again(turn) * 1000)
    rows.restore.add(name, await copier.restore() * 1000)


def _row(key: str, title: str, target: Target | None) -> Row:
    return Row(key=key, title=title, unit="ms", baseline=GIT, target=target)
