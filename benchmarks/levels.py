"""Measure the two levels of isolation beside each other, in one process and in turns: `python benchmarks/levels.py`."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

if __name__ == "__main__":
    # Started as a file, Python looks for modules in this folder instead of the project's.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import anyio

from benchmarks.subjects import temporary_folder
from vaporform_mcp.sandboxes.base import Command, FileWrite
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.provider import LocalProvider, open_local
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.types import Phase, Spec, WorkspacePath

LEVELS: tuple[Level, ...] = ("namespaces", "restricted")
FILES = 3_000
MAKE_FILES = f"""
import time
began = time.perf_counter()
for number in range({FILES}):
    with open(f"file{{number}}", "w") as made:
        made.write("x")
print(time.perf_counter() - began)
"""


async def main() -> None:
    started: dict[Level, list[float]] = {level: [] for level in LEVELS}
    with temporary_folder() as folder:
        async with AsyncExitStack() as opened:
            providers: dict[Level, LocalProvider] = {
                level: await opened.enter_async_context(
                    open_local(
                        LocalConfig(
                            data_dir=folder / level,
                            isolation=level,
                            linger_s=3,
                            toolchains=("none",),
                            host_environment=dict(os.environ),
                        )
                    )
                )
                for level in LEVELS
            }
            for number in range(16):
                for level, provider in providers.items():
                    took = await _timed(lambda provider=provider, number=number: _acquired(provider, f"start-{number}"))
                    if number:  # the first one also prepares what all are made of
                        started[level].append(took)
                    await provider.destroy(f"start-{number}", 1)
            sandboxes: dict[Level, LocalSandbox] = {
                level: await _acquired(provider, "one") for level, provider in providers.items()
            }
            _row("Start of a sandbox", started)
            _row("A command (`true`)", await _measured(sandboxes, 200, lambda one: one.exec(Command(text="true"))))
            file = FileWrite(path=WorkspacePath("written.txt"), content=b"hello\n")
            _row("Write of a file by a tool", await _measured(sandboxes, 60, lambda one: one.write_files([file])))
            made: dict[Level, list[float]] = {level: [] for level in LEVELS}
            for _ in range(5):
                for level, one in sandboxes.items():
                    result = await one.exec(Command(text="python3 -I -", stdin=MAKE_FILES.encode()))
                    made[level].append(float(result.head))
            _row(f"{FILES:,} files made by a command", made)
            for provider in providers.values():
                await provider.destroy("one", 1)


async def _acquired(provider: LocalProvider, name: str) -> LocalSandbox:
    return await provider.acquire(Spec(provider="local"), name, 1, _unwatched)


async def _measured(
    sandboxes: dict[Level, LocalSandbox], times: int, act: Callable[[LocalSandbox], Awaitable[object]]
) -> dict[Level, list[float]]:
    found: dict[Level, list[float]] = {level: [] for level in LEVELS}
    for _ in range(times):
        for level, one in sandboxes.items():
            found[level].append(await _timed(lambda one=one: act(one)))
    return found


async def _timed(act: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await act()
    return time.perf_counter() - began


def _row(title: str, samples: dict[Level, list[float]]) -> None:
    first, second = (statistics.median(samples[level]) for level in LEVELS)
    sys.stdout.write(f"| {title} | {first * 1000:.2f} ms | {second * 1000:.2f} ms | {second / first:.2f}x |\n")


def _unwatched(_phase: Phase, _percent: float) -> None:
    return


if __name__ == "__main__":
    anyio.run(main)
