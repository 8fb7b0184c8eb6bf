"""Which level of isolation this server's sandboxes have: the best that can be had here, decided once."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local import layout, reach
from vaporform_mcp.sandboxes.local.attach import Attached, attach, finish, level_of_running
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.limits import RESTRICTED_GAPS
from vaporform_mcp.sandboxes.local.preparing import Prepared
from vaporform_mcp.sandboxes.local.probe import FAILED, NamespacesDenied
from vaporform_mcp.types import Network

__all__ = ["Levels"]

log = logging.getLogger(__name__)


class Levels:
    """Attaches to sandboxes at the level that the settings choose or, of themselves, this machine allows.

    Nothing is tried before a sandbox is needed, and then the sandbox itself is the trial: where it starts in
    namespaces, that was all. `denied` is why they cannot be had, where that is known.
    """

    def __init__(self, config: LocalConfig, tasks: TaskGroup) -> None:
        self._config = config
        self._tasks = tasks
        self._level: Level | None = None
        self._deciding = anyio.Lock()
        self.denied: NamespacesDenied | None = None
        if config.isolation != "auto":
            self._settle(config.isolation, "the settings ask for no more")

    @property
    def level(self) -> Level:
        """Of the sandboxes that are started; as long as none was needed, the one that is tried first."""
        return self._level or "namespaces"

    async def attach(
        self, folder: Folder, prepared: Prepared, network: Network, environment: Mapping[str, str]
    ) -> Attached:
        """As `attach` does it. Raises `SandboxUnavailable`."""
        if self._level is None:
            async with self._deciding:
                if self._level is None:
                    return await self._decide(folder, prepared, network, environment)
        return await attach(folder, prepared.recipe(self.level, network, environment), self._tasks)

    async def _decide(
        self, folder: Folder, prepared: Prepared, network: Network, environment: Mapping[str, str]
    ) -> Attached:
        first = prepared.recipe("namespaces", network, environment)
        try:
            # One that runs at the lesser level must not be ended for a try that may fail.
            if await level_of_running(folder) == "restricted":
                await self._try_elsewhere(prepared)
            attached = await attach(folder, first, self._tasks)
        except NamespacesDenied as denied:
            self.denied = denied
            return await self._fall_back(folder, prepared, network, environment, denied)
        if attached.fingerprint.level == "namespaces":
            self._settle("namespaces", "")
        return attached

    async def _fall_back(
        self,
        folder: Folder,
        prepared: Prepared,
        network: Network,
        environment: Mapping[str, str],
        denied: NamespacesDenied,
    ) -> Attached:
        try:
            attached = await attach(folder, prepared.recipe("restricted", network, environment), self._tasks)
        except SandboxUnavailable as error:
            # Whoever mends the first has the better isolation, and need not mend the second.
            raise SandboxUnavailable(
                f"{denied.message}; nor without namespaces: {error.message.removeprefix(FAILED)}", hint=denied.hint
            ) from error
        self._settle("restricted", denied.cause)
        return attached

    def _settle(self, level: Level, cause: str) -> None:
        self._level = level
        if level == "namespaces":
            log.info("sandboxes are isolated by namespaces")
            return
        log.log(
            logging.INFO if self._config.isolation == level else logging.WARNING,
            "sandboxes are restricted rather than isolated by namespaces, since %s. Not isolated: %s. "
            "`vaporform-mcp doctor` says how it is mended",
            cause,
            "; ".join(RESTRICTED_GAPS),
        )

    async def _try_elsewhere(self, prepared: Prepared) -> None:
        """Raises `NamespacesDenied` where they are."""
        folder = layout.folder_of(self._config.data_dir, f"trial-{secrets.token_hex(4)}", 1)
        layout.create(folder)
        try:
            tried = await attach(folder, prepared.recipe("namespaces", "none", {}), self._tasks)
            tried.connection.close()
        finally:
            with anyio.CancelScope(shield=True):
                await finish(folder, self._tasks)
                if (trash := layout.trash(folder)) is not None:
                    await anyio.to_thread.run_sync(reach.remove_all, trash)
