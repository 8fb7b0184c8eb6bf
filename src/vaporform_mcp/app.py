"""The composition root: the only module that names a provider or a store, each imported at its first need."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from vaporform_mcp.errors import SandboxUnavailable, StoreUnavailable
from vaporform_mcp.platforms import check_platform
from vaporform_mcp.server import Serving
from vaporform_mcp.settings import Settings, host_environment
from vaporform_mcp.types import Spec, WorkspaceName, parse_name

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.credentials import Credentials
    from vaporform_mcp.manager import Manager
    from vaporform_mcp.sandboxes.base import Provider
    from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
    from vaporform_mcp.sandboxes.local.bubblewrap import Bubblewrap
    from vaporform_mcp.stores.base import Store
    from vaporform_mcp.workspace.results import Summary

__all__ = [
    "OWNER",
    "SandboxStatus",
    "destroy_sandbox",
    "find_isolation",
    "forget_workspace",
    "list_workspaces",
    "new_bundle",
    "open_bundle",
    "open_manager",
    "open_provider",
    "open_store",
    "open_store_to_look",
    "sandbox_folders",
    "sandboxes",
    "serving",
    "stop_sandbox",
    "store_file",
    "store_place",
    "undelete_workspace",
]

OWNER = "local"
"""Whose the workspaces are where there is one user: over stdio, and for the commands of a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStatus:
    """A sandbox on this machine.

    `workspace` is the name of the workspace that it is of; None where no workspace has it as its current one, so that
    nothing will use it again. `state` is running, stopped (it starts when it is needed), hung or foreign (of another
    version of this server). `servers` are attached to it and `processes` run in it; `uptime_s` is in seconds.
    """

    workspace: str | None
    workspace_id: str
    epoch: int
    state: str
    pid: int | None
    servers: int
    processes: int
    uptime_s: float


def serving(settings: Settings) -> Serving:
    """What the MCP server of these settings is given: nothing of it is opened before it is needed.

    Raises:
        InvalidArgument: a setting has a value that its provider or store cannot use. It names the setting.
    """
    _check_egress(settings)
    _check_mongo(settings)
    return Serving(
        open_manager=partial(open_manager, settings),
        load=partial(_load, settings.store, settings.sandbox),
        owner=OWNER,
        workspace=parse_name(settings.workspace),
        tools=settings.tools,
        wait_limit_s=settings.wait_limit_s,
    )


def _load(store: str, sandbox: str) -> None:
    if sys.platform != "linux":
        return
    for module in ("locks", "manager", f"stores.{store}"):
        importlib.import_module(f"vaporform_mcp.{module}")
    importlib.import_module(f"vaporform_mcp.sandboxes.{sandbox}.provider")
    if sandbox != "local":
        return
    from vaporform_mcp.sandboxes.local import bubblewrap

    with suppress(SandboxUnavailable):  # whoever needs it will be told
        bubblewrap.find()


def store_file(settings: Settings) -> Path:
    """Where the embedded store keeps everything."""
    return settings.data_dir / "vaporform.sqlite3"


def store_place(settings: Settings) -> str:
    """Where the store is, for a person; without what is secret of it."""
    if settings.store == "mongo":
        return f"database {settings.mongo.database} at {_hosts(settings.mongo.uri.get_secret_value())}"
    return f"file {store_file(settings)}"


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncGenerator[Store]:
    """The store that the settings choose.

    Raises:
        StoreUnavailable: the data folder cannot be made, or the URI of the database cannot be used.
    """
    _make_data_dir(settings.data_dir)  # with MongoDB too: of the sandboxes and the locks
    if settings.store == "mongo":
        async with _open_mongo(settings) as store:
            yield store
        return
    from vaporform_mcp.stores.sqlite import open_sqlite

    async with open_sqlite(store_file(settings)) as store:
        yield store


@asynccontextmanager
async def open_store_to_look(settings: Settings) -> AsyncGenerator[Store | None]:
    """The store that the settings choose, for what only tells: nothing is made. None where there is none yet."""
    if settings.store == "mongo":
        async with _open_mongo(settings, read_only=True) as store:
            yield store
    elif store_file(settings).exists():
        async with open_store(settings) as store:
            yield store
    else:
        yield None


@asynccontextmanager
async def open_bundle(file: Path) -> AsyncGenerator[Store]:
    """The store in a file that was handed over, checked for being one, and never written to.

    Raises:
        InvalidArgument: it is none, or not as this program makes it.
    """
    from vaporform_mcp.stores.sqlite import open_bundle as opened

    async with opened(file) as store:
        yield store


@asynccontextmanager
async def new_bundle(file: Path, *, overwrite: bool) -> AsyncGenerator[Store]:
    """A store that becomes the file, to be handed over, when the block ends well.

    Raises:
        Conflict: there is a file of that name.
        OSError: as the system does.
    """
    from vaporform_mcp.stores.sqlite import new_bundle as made

    async with made(file, overwrite=overwrite) as store:
        yield store


@asynccontextmanager
async def open_provider(settings: Settings) -> AsyncGenerator[Provider]:
    """The provider that the settings choose.

    Raises:
        SandboxUnavailable: this platform has no such sandboxes.
        StoreUnavailable: the data folder cannot be made.
    """
    check_platform()
    _make_data_dir(settings.data_dir)
    if settings.sandbox == "daytona":
        # Its SDK takes a second to load, in which other calls are to be answered.
        await anyio.to_thread.run_sync(importlib.import_module, "vaporform_mcp.sandboxes.daytona.provider")
        from vaporform_mcp.sandboxes.daytona.provider import open_daytona

        async with open_daytona(_daytona_config(settings)) as provider:
            yield provider
        return
    from vaporform_mcp.sandboxes.local.config import LocalConfig
    from vaporform_mcp.sandboxes.local.provider import open_local

    local = settings.local
    config = LocalConfig(
        data_dir=settings.data_dir,
        network=local.network,
        isolation=local.isolation,
        linger_s=local.linger_s,
        toolchains=local.toolchains,
        egress_allow=local.egress_allow,
        egress_private=local.egress_private,
        processes=local.processes,
        memory_mb=local.memory_mb,
        file_mb=local.file_mb,
        open_files=local.open_files,
        tmp_mb=local.tmp_mb,
        host_environment=host_environment(),
    )
    async with open_local(config) as local_provider:
        yield local_provider


@asynccontextmanager
async def open_manager(settings: Settings) -> AsyncGenerator[Manager]:
    """The workspaces, over the provider and the store that the settings choose; closed in the reverse order.

    Raises what `open_provider` and `open_store` raise.
    """
    # Loaded after the platform was checked, since file locks are not to be had on all of them.
    check_platform()
    from vaporform_mcp.exclusions import Exclusions, MirrorRules
    from vaporform_mcp.locks import HostLock
    from vaporform_mcp.manager import open_manager as opened

    def lock_of(workspace_id: str) -> HostLock:
        return HostLock(settings.data_dir / "locks" / f"{workspace_id}.lock")

    spec = Spec(provider=settings.sandbox)
    rules = MirrorRules(
        exclusions=Exclusions(settings.mirror.exclude), max_file_bytes=settings.mirror.file_mb * 1024 * 1024
    )
    async with (
        open_store(settings) as store,
        open_provider(settings) as provider,
        opened(store, provider, lock_of, spec, rules, _credentials(settings)) as manager,
    ):
        yield manager


async def list_workspaces(settings: Settings) -> Sequence[Summary]:
    """The user's workspaces, those in the trash last."""
    async with open_manager(settings) as manager:
        return await manager.list(OWNER)


async def undelete_workspace(settings: Settings, name: WorkspaceName) -> Summary:
    """Raises `NotFound`, `Conflict`."""
    async with open_manager(settings) as manager:
        return await manager.undelete(OWNER, name)


async def destroy_sandbox(settings: Settings, name: WorkspaceName) -> None:
    """Take a workspace's sandbox away with everything in it, whoever uses it. Its mirror stays. Safe to repeat."""
    async with open_store(settings) as store, open_provider(settings) as provider:
        record = await store.get_workspace(OWNER, name)
        if record is not None:
            head = await store.head(record.id)
            await provider.destroy(record.id, head.sandbox_epoch)


async def forget_workspace(settings: Settings, name: WorkspaceName) -> None:
    """Take a workspace out of the store for good. What it alone kept goes with the next prune. Safe to repeat."""
    async with open_store(settings) as store:
        record = await store.get_workspace(OWNER, name)
        if record is not None:
            await store.delete_workspace(record.id)


async def sandboxes(settings: Settings) -> Sequence[SandboxStatus]:
    """Every sandbox of the data folder, here or at Daytona. Looking starts none, and keeps none from ending."""
    check_platform()
    if not settings.data_dir.is_dir():
        return []
    if settings.sandbox == "daytona":
        from vaporform_mcp.sandboxes.daytona.registry import known_sandboxes as known_there

        known = await known_there(_daytona_config(settings))
    else:
        from vaporform_mcp.sandboxes.local.registry import known_sandboxes

        known = await known_sandboxes(settings.data_dir)
    names = await _current(settings) if known else {}
    return [SandboxStatus(workspace=names.get((each.workspace_id, each.epoch)), **asdict(each)) for each in known]


def sandbox_folders(settings: Settings, sandbox: SandboxStatus) -> list[Path]:
    """The folders on this machine that are the sandbox's; the last is the one that holds its `files`."""
    if settings.sandbox != "local":
        return []
    from vaporform_mcp.sandboxes.local import layout

    root = layout.folder_of(settings.data_dir, sandbox.workspace_id, sandbox.epoch).root
    base = layout.elsewhere(root)
    return [root] if base is None else [root, base]


async def stop_sandbox(settings: Settings, sandbox: SandboxStatus) -> None:
    """End it with everything that runs in it; its files stay, and it starts again when it is needed.

    Raises:
        SandboxUnavailable: it does not end.
    """
    if settings.sandbox == "daytona":
        from vaporform_mcp.sandboxes.daytona.registry import stop_sandbox as stop_remote

        await stop_remote(_daytona_config(settings), sandbox.workspace_id, sandbox.epoch)
        return
    from vaporform_mcp.sandboxes.local.registry import end_sandbox

    await end_sandbox(settings.data_dir, sandbox.workspace_id, sandbox.epoch)


def find_isolation() -> Bubblewrap:
    """The program that isolates commands.

    Raises:
        SandboxUnavailable: this machine has none.
    """
    check_platform()
    from vaporform_mcp.sandboxes.local import bubblewrap

    return bubblewrap.find()


def _credentials(settings: Settings) -> Credentials:
    from vaporform_mcp.credentials import Credentials, parse_credential

    return Credentials(parse_credential(each) for each in settings.git.each())


def _daytona_config(settings: Settings) -> DaytonaConfig:
    from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig, own_store_id

    store_id = own_store_id(settings.data_dir)
    if settings.store == "mongo":  # the same for all servers of it
        where = f"{_hosts(settings.mongo.uri.get_secret_value())}/{settings.mongo.database}"
        store_id = hashlib.sha256(where.encode()).hexdigest()[:16]
    return DaytonaConfig.of(settings.daytona, api_key=settings.daytona.api_key.get_secret_value(), store_id=store_id)


async def _current(settings: Settings) -> dict[tuple[str, int], str]:
    """Names of the user's workspaces by the id and epoch of the sandbox that each has now."""
    if settings.store == "sqlite" and not store_file(settings).exists():
        return {}
    async with open_store(settings) as store:
        return {
            (record.id, (await store.head(record.id)).sandbox_epoch): record.name
            for record in await store.list_workspaces(OWNER)
        }


def _open_mongo(settings: Settings, *, read_only: bool = False) -> AbstractAsyncContextManager[Store]:
    from vaporform_mcp.stores.mongo import open_mongo

    return open_mongo(settings.mongo.uri.get_secret_value(), settings.mongo.database, read_only=read_only)


def _hosts(uri: str) -> str:
    """The servers that a URI names."""
    # What may be a password goes first, whatever is in it.
    return uri.rpartition("@" if "@" in uri else "://")[2].partition("/")[0].partition("?")[0]


def _check_egress(settings: Settings) -> None:
    """The network's rules are the provider's to read, and a person has to learn of a mistake at the start."""
    local = settings.local
    if local.egress_allow or local.egress_private:
        from vaporform_mcp.sandboxes.local import policy

        policy.parse(local.egress_allow, local.egress_private)


def _check_mongo(settings: Settings) -> None:
    """What the driver would pass over in silence. It is loaded for that only where there is anything to pass over."""
    uri = settings.mongo.uri.get_secret_value()
    if settings.store == "mongo" and "?" in uri:
        from vaporform_mcp.stores.mongo import check_options

        check_options(uri)


def _make_data_dir(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"the data folder cannot be made ({error.strerror})",
            hint="Set VAPORFORM_DATA_DIR to a folder of yours, on a disk that is neither full nor read-only.",
        ) from error
