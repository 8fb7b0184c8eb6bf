"""One workspace's place in this server, from the moment that somebody asked for it until it is let go of."""

from __future__ import annotations

import logging

import anyio

from vaporform_mcp.errors import SandboxUnavailable, VaporformError
from vaporform_mcp.types import Phase, WorkspaceName
from vaporform_mcp.workspace import Workspace

__all__ = ["Slot"]

log = logging.getLogger(__name__)


class Slot:
    """`settled` once its opening has ended, `ready` or with an `error`. `leaving` is set while it is being deleted,
    and fires when that has ended, either way. `files` is how many the mirror had when last asked."""

    def __init__(self, name: WorkspaceName) -> None:
        self.name = name
        self.workspace: Workspace | None = None
        self.ready = False
        self.created = False
        self.phase = Phase.CREATING
        self.percent = 0.0
        self.files = 0
        self.error: VaporformError | None = None
        self.settled = anyio.Event()
        self.leaving: anyio.Event | None = None
        self._background = anyio.CancelScope()

    @property
    def live(self) -> Workspace | None:
        """The workspace, where it was opened and is not being deleted."""
        return self.workspace if self.ready and self.leaving is None else None

    def unprepared(self) -> SandboxUnavailable:
        return SandboxUnavailable(
            f"the workspace {self.name} is still being prepared ({self.phase.value}, {self.percent:.0f} %)",
            hint="Repeat the same call: it joins the work that is under way.",
        )

    def tell(self, phase: Phase, percent: float) -> None:
        self.phase, self.percent = phase, percent

    def end_leaving(self) -> None:
        """The deletion has ended: whoever waited for it looks again, at this slot or for another one."""
        if self.leaving is not None:
            self.leaving.set()
            self.leaving = None

    async def keep_synced(self) -> None:
        """Run the workspace's background syncs until the slot is closed."""
        if self.workspace is not None:
            with self._background:
                await self.workspace.keep_synced()

    async def aclose(self) -> None:
        """Close the workspace and end its background syncs. What one says wrong must not cost others their last sync,
        so it is logged only."""
        try:
            if self.workspace is not None:
                await self.workspace.aclose()
        except Exception:
            log.exception("closing the workspace %s failed", self.name)
        finally:
            self._background.cancel()
