"""Others that copy a project, beside which the mirror is measured: git, rsync and restic, by their command lines."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import Protocol

import anyio

from benchmarks.projects import CHANGE, FILL, arguments

__all__ = ["GIT", "Copier", "CopyFailed", "Rival", "program", "rivals", "settle", "source", "timed", "version_of"]

GIT = "git"


class CopyFailed(Exception):
    """A copy is not what it should be, or a program failed; the message says which and how."""


class Copier(Protocol):
    """Copies one project of `count` files. Each method answers with the seconds that it took."""

    async def first(self) -> float: ...

    async def again(self, turn: int) -> float:
        """After ten more files have changed, which is not timed."""
        ...

    async def restore(self) -> float:
        """All files, to where there are none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A program of others. The commands are given `{source}`, `{copy}` and `{fresh}`, which are folders."""

    name: str
    version: Sequence[str]
    prepare: Sequence[Sequence[str]] = ()
    copy: Sequence[Sequence[str]]
    restore: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def rivals() -> Sequence[Rival]:
    """All, whether they are installed or not."""
    git = ("git", "--git-dir={copy}", "--work-tree={source}")
    return [
        Rival(
            name=GIT,
            version=("git", "--version"),
            # Its clean-up would go on in the background, while others are measured.
            prepare=[("git", "init", "-q", "--bare", "{copy}"), (*git, "config", "gc.auto", "0")],
            copy=[(*git, "add", "-A"), (*git, "commit", "-q", "-m", "copy")],
            restore=("git", "--git-dir={copy}", "--work-tree={fresh}", "checkout", "-q", "-f", "HEAD", "--", "."),
            environment={
                **{f"GIT_{who}_NAME": "benchmark" for who in ("AUTHOR", "COMMITTER")},
                **{f"GIT_{who}_EMAIL": "benchmark@localhost" for who in ("AUTHOR", "COMMITTER")},
                "GIT_CONFIG_GLOBAL": os.devnull,
            },
        ),
        Rival(
            name="rsync",
            version=("rsync", "--version"),
            copy=[("rsync", "-a", "--delete", "{source}/", "{copy}/")],
            restore=("rsync", "-a", "{copy}/", "{fresh}/"),
        ),
        Rival(
            name="restic",
            version=("restic", "version"),
            prepare=[("restic", "-q", "-r", "{copy}", "init")],
            copy=[("restic", "-q", "-r", "{copy}", "backup", "{source}")],
            restore=("restic", "-q", "-r", "{copy}", "restore", "latest", "--target", "{fresh}"),
            environment={"RESTIC_PASSWORD": "benchmark", "RESTIC_CACHE_DIR": "{copy}-cache"},
        ),
    ]


@asynccontextmanager
async def source(folder: Path, count: int, seed: int) -> AsyncGenerator[Path]:
    """The project in a folder of this machine, for those that copy from there."""
    made = folder / "source"
    made.mkdir()
    await _run([sys.executable, *arguments(count, seed)], folder=made, given=FILL)
    yield made
    await _remove(made)


@dataclass(slots=True, kw_only=True)
class _Program:
    """A rival at work on one project."""

    rival: Rival
    source: Path
    copy: Path
    count: int

    async def first(self) -> float:
        for words in self.rival.prepare:
            await self._run(words)
        await settle()
        return await timed(self._copy)

    async def again(self, turn: int) -> float:
        await _run([sys.executable, *arguments(self.count, turn)], folder=self.source, given=CHANGE)
        return await timed(self._copy)

    async def restore(self) -> float:
        fresh = self.copy.with_name(f"{self.copy.name}-fresh")
        fresh.mkdir()
        await settle()
        took = await timed(lambda: self._run(self.rival.restore, fresh, GIT_INDEX_FILE=f"{self.copy}/fresh.index"))
        found = sum(len(files) for _, _, files in os.walk(fresh))
        if found != self.count:
            raise CopyFailed(f"{self.rival.name} restored {found} files of {self.count}")
        await _remove(fresh)
        return took

    async def _copy(self) -> None:
        for words in self.rival.copy:
            await self._run(words)

    async def _run(self, words: Sequence[str], fresh: Path | None = None, **more: str) -> None:
        places = {"source": str(self.source), "copy": str(self.copy), "fresh": str(fresh)}
        environment = {name: value.format(**places) for name, value in self.rival.environment.items()}
        await _run([word.format(**places) for word in words], folder=self.source, environment=environment | more)


@asynccontextmanager
async def program(rival: Rival, source: Path, folder: Path, count: int) -> AsyncGenerator[Copier]:
    copy = folder / rival.name
    yield _Program(rival=rival, source=source, copy=copy, count=count)
    for left in (copy, Path(f"{copy}-cache")):
        await _remove(left)


async def version_of(rival: Rival) -> str | None:
    """None where it is not installed."""
    if shutil.which(rival.version[0]) is None:
        return None
    done = await anyio.run_process([*rival.version], check=False)
    return next((word for word in done.stdout.decode().split() if word[:1].isdigit()), "of an unknown version")


async def settle() -> None:
    """What others wrote before goes to the disk before something is timed, and at nobody's cost."""
    await anyio.to_thread.run_sync(os.sync)


async def timed(act: Callable[[], Awaitable[object]]) -> float:
    """The seconds that it takes."""
    began = time.perf_counter()
    await act()
    return time.perf_counter() - began


async def _remove(path: Path) -> None:
    await anyio.to_thread.run_sync(partial(shutil.rmtree, path, ignore_errors=True))


async def _run(
    words: Sequence[str], *, folder: Path, given: str = "", environment: Mapping[str, str] | None = None
) -> None:
    whole = {**os.environ, **(environment or {})}
    done = await anyio.run_process(words, input=given.encode(), cwd=folder, env=whole, stdout=DEVNULL, check=False)
    if done.returncode:
        raise CopyFailed(f"{words[0]} failed: {' '.join(done.stderr.decode(errors='replace').split())[:300]}")
