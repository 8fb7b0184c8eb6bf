"""The mirror as one that copies a project: what its syncs and the rebuilding of a lost sandbox take of a server."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.copies import Copier, CopyFailed, settle, timed
from benchmarks.projects import CHANGE, CHANGED, FILL, arguments
from vaporform_mcp.exclusions import MirrorRules
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import open_manager
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import LocalProvider, open_local
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.types import Head, Phase, Spec, WorkspaceName, WorkspaceRecord
from vaporform_mcp.workspace.mirror import Mirror
from vaporform_mcp.workspace.syncing import Syncer

__all__ = ["mirror"]

_NAME = WorkspaceName("project")
_OWNER = "local"
_SPEC = Spec(provider="local")
_OPEN_S = 600.0
_LINGER_S = 2.0


@asynccontextmanager
async def mirror(folder: Path, count: int, seed: int) -> AsyncGenerator[Copier]:
    """Over a new store, with the project in a sandbox that is up. The sandbox ends with it."""
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(_parts(folder))
        record = await _opened(parts)
        copier = _Mirror(folder=folder, count=count, workspace_id=record.id, parts=parts, stack=stack)
        await copier.run(FILL, count, seed)
        yield copier
        await copier.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    store: Store
    provider: LocalProvider
    locks: Callable[[str], HostLock]


@dataclass(slots=True, kw_only=True)
class _Mirror:
    folder: Path
    count: int
    workspace_id: str
    parts: _Parts
    stack: AsyncExitStack
    syncer: Syncer | None = None
    epoch: int = 1

    async def first(self) -> float:
        head = await self.parts.store.head(self.workspace_id)
        here = Mirror(self.parts.store, self.workspace_id, Head(number=head.number, epoch=self.epoch))
        self.syncer = Syncer(await self._sandbox(), here, MirrorRules())
        await settle()
        return await self._sync(self.syncer, self.count)

    async def again(self, turn: int) -> float:
        """As in the background: what the sandbox's watch vouches for is not looked at."""
        if self.syncer is None:
            raise AssertionError("the first sync comes first")
        await self.run(CHANGE, self.count, turn)
        return await self._sync(self.syncer, CHANGED, thorough=False)

    async def restore(self) -> float:
        """The sandbox is lost; a server that is up, and has not seen it, rebuilds it."""
        await self.end()
        await self.stack.aclose()
        self.parts = await self.stack.enter_async_context(_parts(self.folder))
        await settle()
        took = await timed(lambda: _opened(self.parts))
        self.epoch += 1
        said = await self._in_sandbox(Command(text="find . -type f | wc -l"))
        if int(said) != self.count:
            raise CopyFailed(f"the mirror restored {int(said)} files of {self.count}")
        return took

    async def run(self, program: str, *numbers: int) -> None:
        words = " ".join(arguments(*numbers))
        await self._in_sandbox(Command(text=f"python3 {words}", stdin=program.encode()))

    async def end(self) -> None:
        await self.parts.provider.destroy(self.workspace_id, self.epoch)

    async def _sync(self, syncer: Syncer, count: int, *, thorough: bool = True) -> float:
        began = anyio.current_time()
        report = await syncer.run(made_by="benchmark", thorough=thorough)
        took = anyio.current_time() - began
        if report.changed != count or report.problems:
            raise CopyFailed(f"a sync took {report.changed} changes for {count}: {list(report.problems[:3])}")
        return took

    async def _in_sandbox(self, command: Command) -> bytes:
        result = await (await self._sandbox()).exec(command)
        if result.exit_code != 0:
            raise CopyFailed(f"the sandbox could not: {result.tail[-300:].decode(errors='replace')}")
        return result.head + result.tail

    async def _sandbox(self) -> LocalSandbox:
        return await self.parts.provider.acquire(_SPEC, self.workspace_id, self.epoch, _unwatched)


async def _opened(parts: _Parts) -> WorkspaceRecord:
    """As a server opens it, whose syncs in the background end with its manager: none comes while one is measured."""
    async with open_manager(parts.store, parts.provider, parts.locks, _SPEC) as manager:
        workspace = await manager.workspace(_OWNER, _NAME, wait_s=_OPEN_S)
        return workspace.record


@asynccontextmanager
async def _parts(folder: Path) -> AsyncGenerator[_Parts]:
    config = LocalConfig(
        data_dir=folder,
        network="none",
        linger_s=_LINGER_S,
        toolchains=("none",),
        host_environment=dict(os.environ),
    )
    async with (
        open_sqlite(folder / "vaporform.sqlite3") as store,
        open_local(config) as provider,
    ):
        yield _Parts(store=store, provider=provider, locks=lambda name: HostLock(folder / "locks" / name))


def _unwatched(_phase: Phase, _percent: float) -> None:
    return
