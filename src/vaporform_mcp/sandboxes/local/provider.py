"""The local provider: sandboxes on this machine."""

from __future__ import annotations

import logging
import os
import resource
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.background import background
from vaporform_mcp.errors import NotSupported, SandboxUnavailable
from vaporform_mcp.sandboxes.base import OnPhase, ProviderInfo, SandboxInfo
from vaporform_mcp.sandboxes.local import cgroups, layout, reach
from vaporform_mcp.sandboxes.local.attach import finish
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.diskfaults import disk_faults
from vaporform_mcp.sandboxes.local.levels import Levels
from vaporform_mcp.sandboxes.local.limits import gaps_of
from vaporform_mcp.sandboxes.local.preparing import Prepared, prepare
from vaporform_mcp.sandboxes.local.previews import PreviewForwarder
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.sandboxes.local.versions import Versions
from vaporform_mcp.sandboxes.snapshots import NoSnapshots, Snapshots
from vaporform_mcp.types import Network, Phase, Resources, Spec

__all__ = ["LocalProvider", "open_local"]

log = logging.getLogger(__name__)

OPEN_FILES = 16_384
"""What the server wants for itself: a sandbox's connections can take several hundred, the usual limit is 1,024."""

_OPENNESS: tuple[Network, ...] = ("none", "internet", "host")


@asynccontextmanager
async def open_local(config: LocalConfig) -> AsyncGenerator[LocalProvider]:
    """The provider, whose tasks run within the context. Sandboxes go on after it.

    Raises this process's limit of open files, as far as it may.
    """
    _allow_open_files()
    async with PreviewForwarder() as previews, background() as tasks:
        provider = LocalProvider(config, tasks, previews)
        tasks.start_soon(provider.clear_trash)
        try:
            yield provider
        finally:
            await provider.aclose()


class LocalProvider:
    """See `Provider`. Its constructor does nothing; `open_local` gives one that works."""

    def __init__(self, config: LocalConfig, tasks: TaskGroup, previews: PreviewForwarder) -> None:
        self._config = config
        self._tasks = tasks
        self._previews = previews
        self._live: dict[tuple[str, int], LocalSandbox] = {}
        self._acquiring: dict[tuple[str, int], anyio.Lock] = {}
        self._levels = Levels(config, tasks)
        self._preparing = anyio.Lock()
        self._prepared: Prepared | None = None
        self._versions = Versions(config.data_dir / "toolchains.json")

    @property
    def name(self) -> str:
        return "local"

    async def acquire(self, spec: Spec, workspace_id: str, epoch: int, on_phase: OnPhase) -> LocalSandbox:
        network = self._network(spec)
        key = (workspace_id, epoch)
        async with self._acquiring.setdefault(key, anyio.Lock()):
            live = self._live.get(key)
            if live is not None and live.is_live and (live.network, live.env) == (network, spec.env):
                return live
            if live is not None:
                await live.aclose()
            on_phase(Phase.CREATING, 0.0)
            folder = layout.folder_of(self._config.data_dir, workspace_id, epoch)
            layout.make_lockable(folder)
            prepared = await self._ready()
            attached = await self._levels.attach(folder, prepared, network, spec.env)
            sandbox = LocalSandbox(
                folder,
                attached,
                network=network,
                env=spec.env,
                describe=self._describe,
                open_preview=partial(self._open_preview, workspace_id),
            )
            try:
                if network == "internet":
                    await prepared.egress.open(sandbox, self._tasks)
            except BaseException:
                await sandbox.aclose()
                raise
            self._live[key] = sandbox
            on_phase(Phase.WAITING, 100.0)
            return sandbox

    async def find(self, spec: Spec, workspace_id: str, epoch: int, on_phase: OnPhase) -> LocalSandbox | None:
        self._network(spec)
        if not layout.folder_of(self._config.data_dir, workspace_id, epoch).root.exists():
            return None
        return await self.acquire(spec, workspace_id, epoch, on_phase)

    async def destroy(self, workspace_id: str, epoch: int) -> None:
        folder = layout.folder_of(self._config.data_dir, workspace_id, epoch)
        if not folder.root.exists():
            return
        live = self._live.pop((workspace_id, epoch), None)
        trash: list[Path | None] = []
        with disk_faults("the sandbox's folder cannot be removed"):
            await finish(folder, self._tasks, then=lambda: trash.append(layout.trash(folder)))
        if live is not None:
            await live.aclose()
        for path in trash:
            if path is not None:
                await anyio.to_thread.run_sync(_remove, path)

    @property
    def snapshots(self) -> Snapshots:
        return NoSnapshots(self.name)

    async def describe(self) -> ProviderInfo:
        config = self._config
        return ProviderInfo(
            name=self.name,
            isolation=self._levels.level,
            images=(),
            snapshots=(),
            public_previews=False,
            limits={
                "processes": str(config.processes),
                "memory_per_process_mb": str(config.memory_mb),
                "file_mb": str(config.file_mb),
                "open_files": str(config.open_files),
                "tmp_mb": str(config.tmp_mb),
            },
        )

    async def aclose(self) -> None:
        while self._live:
            _, sandbox = self._live.popitem()
            await sandbox.aclose()

    async def clear_trash(self) -> None:
        """Remove what interrupted removals left behind."""
        for path in layout.trashed(self._config.data_dir):
            with suppress(SandboxUnavailable):
                await anyio.to_thread.run_sync(_remove, path, abandon_on_cancel=True)

    def _network(self, spec: Spec) -> Network:
        for field in ("image", "snapshot"):
            if getattr(spec, field) is not None:
                raise NotSupported(
                    f"local sandboxes have no {field}: they show this machine's own system and tools",
                    hint=f"Leave {field} out, or use another provider, such as Daytona.",
                )
        if spec.resources is not None and spec.resources != Resources():
            raise NotSupported(
                "local sandboxes have this machine's processors, memory and disk: cpu, memory_gb and disk_gb cannot be "
                "given",
                hint="Leave them out; VAPORFORM_LOCAL__MEMORY_MB and others bound what commands take.",
            )
        if spec.public:
            raise NotSupported(
                "previews of local sandboxes reach this computer only",
                hint="Leave public out, or use another provider, such as Daytona.",
            )
        ceiling = self._config.network
        wanted = spec.network or ceiling
        if _OPENNESS.index(wanted) > _OPENNESS.index(ceiling):
            raise NotSupported(
                f"the network {wanted!r} is more than the settings of this server allow ({ceiling!r})",
                hint="A person can change VAPORFORM_LOCAL__NETWORK.",
            )
        return wanted

    async def _ready(self) -> Prepared:
        async with self._preparing:
            if self._prepared is None:
                self._prepared = await anyio.to_thread.run_sync(prepare, self._config)
            return self._prepared

    async def _describe(self, sandbox: LocalSandbox) -> SandboxInfo:
        prepared = await self._ready()
        network, level = sandbox.network, sandbox.isolation
        gaps = gaps_of(
            self._config,
            network,
            own_user=os.geteuid() == 0,
            in_cgroup=cgroups.holds(sandbox.supervisor_pid),
            level=level,
        )
        reason, mend = self._reason(level)
        return SandboxInfo(
            isolation=level,
            gaps=[*gaps, *prepared.gaps(level), *(prepared.egress.gaps if network == "internet" else ())],
            network=network,
            toolchains=await self._versions.of(
                sandbox, prepared.path(level), prepared.binds(level), host_path=prepared.host_path
            ),
            reason=reason,
            mend=mend,
        )

    def _reason(self, level: Level) -> tuple[str, str]:
        """Why the level is not a better one, and what would make it one."""
        if level == "namespaces":
            return "", ""
        if self._config.isolation == "restricted":
            return "the settings ask for no more", "Leave VAPORFORM_LOCAL__ISOLATION out."
        denied = self._levels.denied
        if denied is None:
            return "another server started it so", ""
        return denied.cause, denied.hint

    async def _open_preview(self, workspace_id: str, port: int, preferred: int | None) -> int:
        return await self._previews.open(workspace_id, port, partial(self._connect, workspace_id, port), preferred)

    async def _connect(self, workspace_id: str, port: int) -> socket.socket:
        """To the workspace's newest sandbox that is attached, which may be another than when the preview began."""
        live = [epoch for known, epoch in self._live if known == workspace_id]
        if not live:
            raise SandboxUnavailable("the sandbox is not running", hint="Any call that uses the workspace starts it.")
        return await self._live[workspace_id, max(live)].connected_socket(port)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _remove(path: Path) -> None:
    try:
        reach.remove_all(path)
    except OSError as error:
        log.warning("a removed sandbox's files are still there: %s", error)
        raise SandboxUnavailable(
            "some files of the removed sandbox could not be deleted",
            hint="Delete what begins with .trash- in the data folder's sandboxes, as the user that owns it.",
        ) from error
