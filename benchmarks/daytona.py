"""Count what Daytona is asked, and time it beside file by file: `python benchmarks/daytona.py [FILES]`.

The service is an emulator in a process of its own, to which the real SDK speaks, in one run without and with 40 ms
added to each request. Counts are what the service would see; of the times the ratios tell.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

if __name__ == "__main__":
    # Started as a file, Python looks for modules in this folder instead of the project's.
    sys.path[0] = str(Path(__file__).resolve().parents[1])


import anyio
from daytona import AsyncDaytona, AsyncSandbox
from daytona import DaytonaConfig as SdkConfig

from benchmarks import projects
from tests.emulators.daytona.emulator import Emulator, start_emulator
from vaporform_mcp.credentials import Credentials
from vaporform_mcp.exclusions import MirrorRules
from vaporform_mcp.locks import HostLock
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.making import name_of
from vaporform_mcp.sandboxes.daytona.provider import DaytonaProvider, open_daytona
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.types import Phase, Spec, WorkspaceName, WorkspaceRecord, parse_path
from vaporform_mcp.workspace import Workspace

__all__ = ["BOUNDS", "Cost", "measure"]

T = TypeVar("T")

LATENCY_S = 0.04
BESIDE_FILES = 1_000
ROUNDS = 2
WAIT_S = 120.0
PORT = 8123
SERVE = f"python3 -m http.server {PORT}"

BOUNDS: Mapping[str, int] = {
    "write a file": 2,
    "read a file": 1,
    "execute a command": 2,
    "first sync": 20,
    "sync of ten changes": 5,
    "completion": 8,
}
"""The most requests that each may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """`requests`: how many of each route of the service's."""

    seconds: float
    requests: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.requests.values())


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    beside = [_in_a_round(LATENCY_S, _first_sync_beside) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(pair[side].seconds for pair in beside) for side in (0, 1))
    ratio = statistics.median(pair[1].seconds / pair[0].seconds for pair in beside)
    counts = " | ".join(str(cost.total) for cost in beside[0])
    print(f"{BESIDE_FILES} files, {LATENCY_S * 1000:g} ms added to each request, medians of {ROUNDS}\n")
    print("| | ours | file by file | ratio | requests, ours | file by file |\n|---|---|---|---|---|---|")
    print(f"| first sync | {ours:.2f} s | {theirs:.1f} s | {ratio:.1f}x | {counts} |\n", flush=True)
    rounds = [_in_a_round(each, partial(measure, count=count)) for each in (0.0, LATENCY_S) * ROUNDS]
    plain, slow = rounds[0::2], rounds[1::2]
    print(f"{count} files, medians of {ROUNDS}\n")
    print("| | requests | at most | time | with 40 ms more for each request |\n|---|---|---|---|---|")
    for name in plain[0]:
        requests = statistics.median(costs[name].total for costs in rounds)
        times = [statistics.median(costs[name].seconds for costs in some) for some in (plain, slow)]
        print(f"| {name} | {requests:g} | {BOUNDS.get(name, '-')} | {times[0]:.2f} s | {times[1]:.2f} s |")
    return 0


def _in_a_round(latency_s: float, work: Callable[[Emulator, Path], Awaitable[T]]) -> T:
    """With a service of its own, so that no round pays for what the one before left."""
    emulator = start_emulator()
    try:
        emulator.settings(latency_s=latency_s)
        with tempfile.TemporaryDirectory() as folder:
            return anyio.run(work, emulator, Path(folder))
    finally:
        emulator.stop()


async def measure(emulator: Emulator, folder: Path, count: int) -> Mapping[str, Cost]:
    """What each operation costs, by its name, in a project of so many files.

    Nothing runs beside them: the syncs that follow commands in the background are counted as syncs.
    """
    costs: dict[str, Cost] = {}

    async def take(name: str, work: Callable[[], Awaitable[object]]) -> None:
        costs[name] = await _cost(emulator, work)

    async with _open(emulator, folder) as (store, provider):
        workspace = await _made(store, provider, folder)
        await take("open a new workspace", partial(workspace.open, _no_phase))
        await _fill(workspace, projects.FILL, count, 1)
        await take("first sync", partial(workspace.sync, made_by="benchmark"))
        await _fill(workspace, projects.CHANGE, count, 1)
        await take("sync of ten changes", partial(workspace.sync, made_by="benchmark"))
        page = parse_path("index.html")
        await take("write a file", partial(workspace.write, page, b"<p>hello\n", made_by="benchmark"))
        await take("read a file", partial(workspace.read, page))
        await take("execute a command", partial(_run, workspace, "echo hello"))
        complete = partial(workspace.complete, command=SERVE, wait_s=WAIT_S)
        await take("completion that starts the server", complete)
        await workspace.write(page, b"<p>hello again\n", made_by="benchmark")
        await take("completion", complete)
        await workspace.aclose()
        head = await store.head(workspace.record.id)
        await provider.destroy(workspace.record.id, head.sandbox_epoch)
        again = Workspace(workspace.record, store, provider, _lock(folder), MirrorRules(), Credentials())
        await take("restore in a new sandbox", partial(again.open, _no_phase))
        found = await _run(again, "find . -type f -path './package*' | wc -l")
        _check(found.split() == [str(count).encode()])
        await again.aclose()
    return costs


async def _first_sync_beside(emulator: Emulator, folder: Path) -> tuple[Cost, Cost]:
    async with _open(emulator, folder) as (store, provider), _sdk(emulator) as sdk:
        workspace = await _made(store, provider, folder)
        await workspace.open(_no_phase)
        await _fill(workspace, projects.FILL, BESIDE_FILES, 1)
        sandbox = await sdk.get(name_of(workspace.record.id, 1))
        root = (await _run(workspace, "pwd")).decode().strip()
        read: dict[str, bytes] = {}
        ours = await _cost(emulator, partial(workspace.sync, made_by="benchmark"))
        theirs = await _cost(emulator, partial(_read_all, sandbox, root, read))
        _check(len(read) == (await store.count(workspace.record.id)).files == BESIDE_FILES)
        await workspace.aclose()
        return ours, theirs


async def _read_all(sandbox: AsyncSandbox, folder: str, read: dict[str, bytes]) -> None:
    """List each folder, then read file by file; it keeps them in memory, where ours writes them to a store."""
    for item in await sandbox.fs.list_files(folder):
        path = f"{folder}/{item.name}"
        if item.is_dir:
            await _read_all(sandbox, path, read)
        else:
            read[path] = await sandbox.fs.download_file(path)


async def _cost(emulator: Emulator, work: Callable[[], Awaitable[object]]) -> Cost:
    emulator.forget_requests()
    began = time.perf_counter()
    await work()
    seconds = time.perf_counter() - began
    return Cost(seconds=seconds, requests=Counter(emulator.counters()["requests"]))


@asynccontextmanager
async def _open(emulator: Emulator, folder: Path) -> AsyncGenerator[tuple[Store, DaytonaProvider]]:
    config = DaytonaConfig(api_key=emulator.key, api_url=emulator.api_url, store_id="benchmark")
    async with open_sqlite(folder / "store.sqlite3") as store, open_daytona(config) as provider:
        yield store, provider


@asynccontextmanager
async def _sdk(emulator: Emulator) -> AsyncGenerator[AsyncDaytona]:
    client = AsyncDaytona(SdkConfig(api_key=emulator.key, api_url=emulator.api_url))
    try:
        yield client
    finally:
        await client.close()


async def _made(store: Store, provider: DaytonaProvider, folder: Path) -> Workspace:
    record = await store.create_workspace(
        WorkspaceRecord(
            id=f"bench-{os.urandom(4).hex()}",
            owner="ada",
            name=WorkspaceName("bench"),
            spec=Spec(provider=provider.name),
            created_at=1.0,
            last_used_at=1.0,
        )
    )
    return Workspace(record, store, provider, _lock(folder), MirrorRules(), Credentials())


def _lock(folder: Path) -> HostLock:
    return HostLock(folder / "lock")


async def _fill(workspace: Workspace, program: str, count: int, number: int) -> None:
    await _run(workspace, " ".join(["python3", *projects.arguments(count, number)]), program.encode())


async def _run(workspace: Workspace, text: str, stdin: bytes = b"") -> bytes:
    command = Command(text=text, stdin=stdin, timeout_s=WAIT_S)
    executed = await workspace.execute(command, wait_s=WAIT_S, background=False, on_output=None)
    _check(executed.result.exit_code == 0)
    return executed.result.head


def _no_phase(phase: Phase, percent: float) -> None:
    """Nobody looks."""


def _check(is_right: bool) -> None:
    if not is_right:
        raise SystemExit("what is there is not what was written")


if __name__ == "__main__":
    sys.exit(main())
