"""The tie between a workspace and its sandbox: opens it, and heals it when it is lost."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.errors import Internal, SandboxLost, SandboxUnavailable, VaporformError
from vaporform_mcp.sandboxes.base import OnPhase
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Phase, WorkspacePath, WorkspaceRecord
from vaporform_mcp.workspace.opening import Live, Opener
from vaporform_mcp.workspace.recording import update_record
from vaporform_mcp.workspace.repository import Returned

__all__ = ["Lifeline"]

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_NOTICES = 10
MAX_NAMED = 10
MAX_SHOWN = 200
MAX_UNMIRRORED = 200
_BUNDLE = (
    "The commits made here are in .git/vaporform/commits.bundle, from which `git fetch` takes them into a repository "
    "that has those of its origin, which .git/vaporform/state names."
)
_REPOSITORY = {
    Returned.WHOLE: "The git repository came back, with the commits and branches that were only here.",
    Returned.PARTLY: "The git repository came back, with the commits and branches that were only here; its origin "
    "could not be reached.",
    Returned.UNREACHED: f"The git repository did not come back, since its origin could not be reached. {_BUNDLE}",
    Returned.LACKING: "The git repository did not come back, since its origin no longer has the commit it was at. "
    + _BUNDLE,
    Returned.NO_GIT: f"The git repository did not come back, since this sandbox has no git. {_BUNDLE}",
    Returned.FAILED: f"The git repository did not come back, since git failed. {_BUNDLE}",
}
_REBUILT = (
    "The sandbox had been lost and was rebuilt from the mirror. Every mirrored file is back. What did not come back: "
    "running processes, installed packages (node_modules, virtual environments), build output and whatever lay outside "
    "/workspace."
)


class _Healing:
    """One healing that any number of callers wait for."""

    def __init__(self) -> None:
        self.settled = anyio.Event()
        self.live: Live | None = None
        self.error: VaporformError | None = None


class Lifeline:
    """Lends the live sandbox to one operation at a time or many; a lost one is replaced, once for all of them.

    `notices` are what the next result has to say once. `running` are the commands last seen running, by process id,
    so that their end with a sandbox can be told; `unmirrored` are paths whose last write is in the sandbox alone.
    `on_healed` is called after each healing: what a sandbox that kept its files was doing may be unmirrored.
    """

    def __init__(self, record: WorkspaceRecord, store: Store, opener: Opener, on_healed: Callable[[], None]) -> None:
        self._on_healed = on_healed
        self.unmirrored: set[WorkspacePath] = set()
        self.record = record
        self._store = store
        self._opener = opener
        self._live: Live | None = None
        self._distrusted: Live | None = None
        self._closed = False
        # Holds: one opening or healing at a time; whoever waited finds the sandbox that it made.
        self._healing = anyio.Lock()
        self.notices: list[str] = []
        self.running: dict[str, str] = {}
        self._group: TaskGroup | None = None
        self._under_way: _Healing | None = None

    async def run(self) -> None:
        """Do the healing, whoever asked for it and however long they wait; never returns.

        A caller that gives up does not end it: begun anew by each call, a long one would never be done.
        """
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                await anyio.sleep_forever()
            finally:
                self._group = None

    @property
    def live(self) -> Live | None:
        """The sandbox as last known, without healing it."""
        return self._live

    async def open(self, on_phase: OnPhase) -> Live:
        """Open it for the first time, or join in. Raises what `Opener.open` raises."""
        async with self._healing:
            if self._live is None:
                self._live = await self._opened(on_phase)
                if self._live.restored:
                    self._tell_restored(self._live)
            return self._live

    async def use(self, operation: Callable[[Live], Awaitable[T]]) -> T:
        """Run `operation` on the live sandbox; where that is lost, heal it and run it once more.

        The operation must be safe to repeat, or raise `SandboxLost` only where it did nothing.
        """
        live = await self.open(_ignore)
        if live is self._distrusted:
            live = await self.heal(live)
        try:
            return await operation(live)
        except SandboxLost as error:
            log.info("the sandbox of %s was lost: %s", self.record.id, error)
        return await operation(await self.heal(live))

    def distrust(self, live: Live) -> None:
        """Its sandbox was found without its mark: nobody syncs from it, so the next operation heals it before."""
        self._distrusted = live

    async def heal(self, lost: Live) -> Live:
        """Replace `lost`, unless somebody already has, or join in."""
        if self._group is None:
            return await self._heal(lost)
        healing = self._under_way
        if healing is None:
            healing = self._under_way = _Healing()
            self._group.start_soon(self._heal_into, lost, healing)
        await healing.settled.wait()
        if healing.live is None:
            raise healing.error or SandboxUnavailable("the server is ending", hint="Repeat the call to the next one.")
        return healing.live

    async def _heal_into(self, lost: Live, healing: _Healing) -> None:
        try:
            healing.live = await self._heal(lost)
        except VaporformError as error:
            healing.error = error
        except Exception:
            log.exception("healing the sandbox of %s failed", self.record.id)
            healing.error = Internal("the sandbox could not be replaced", hint="The server's log has the details.")
        finally:
            self._under_way = None
            healing.settled.set()

    async def _heal(self, lost: Live) -> Live:
        async with self._healing:
            if self._live is lost or self._live is None:
                self._check_open()
                self._live = None
                await lost.sandbox.aclose()
                self._live = await self._opened(_ignore)
                self._tell_healed(lost, self._live)
                self._on_healed()
            return self._live

    async def remember(self, change: Callable[[WorkspaceRecord], WorkspaceRecord]) -> None:
        """Update the record, against other servers' updates. A store that is down only costs the memory."""
        if change(self.record) == self.record:
            return
        try:
            self.record = await update_record(self._store, self.record, change)
        except VaporformError as error:
            log.warning("the workspace's record was not updated: %s", error)

    async def aclose(self) -> None:
        """Let go of the sandbox, for good: what is still under way here must not bring it back."""
        self._closed = True
        live, self._live = self._live, None
        if live is not None:
            await live.sandbox.aclose()

    def take_notices(self) -> list[str]:
        taken, self.notices = self.notices, []
        return taken

    def notify(self, text: str) -> None:
        if text not in self.notices:
            self.notices = [*self.notices, text][-MAX_NOTICES:]

    def note_unmirrored(self, path: WorkspacePath) -> None:
        if len(self.unmirrored) < MAX_UNMIRRORED:
            self.unmirrored.add(path)

    def forget_ended(self, running: Collection[str]) -> None:
        """Only `running` processes are still there to be lost."""
        for process_id in [known for known in self.running if known not in running]:
            del self.running[process_id]

    async def _opened(self, on_phase: OnPhase) -> Live:
        self._check_open()
        live = await self._opener.open(self.record, on_phase)
        if self._closed:
            await live.sandbox.aclose()
        self._check_open()
        await self._tell_isolation(live.sandbox.isolation)
        return live

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxUnavailable(
                f"the workspace {self.record.name} was closed during this call",
                hint="Repeat the call; it opens the workspace again.",
            )

    async def _tell_isolation(self, isolation: str) -> None:
        """It never changes within a workspace's life, for better or worse, without being said."""
        before = self.record.isolation
        if before == isolation:
            return
        if before is not None:
            self.notify(
                f"Commands of this workspace are isolated otherwise than before: {isolation} now, {before} until now. "
                "open_workspace tells what that leaves open. Absolute paths inside are others, so make anew what holds "
                "them, such as virtual environments."
            )
        await self.remember(lambda record: replace(record, isolation=isolation))

    def _tell_healed(self, lost: Live, live: Live) -> None:
        # Of a later epoch: it was rebuilt, if not by this server then by another.
        if live.rebuilt or live.mirror.epoch != lost.mirror.epoch:
            self._tell_restored(live)
        elif self.running:
            self.notify(
                "The sandbox was restarted; its files are as they were. These processes ended with it: "
                f"{self._named_processes()}. Start again what you need."
            )
        self.running.clear()

    def _tell_restored(self, live: Live) -> None:
        parts = [_REBUILT]
        if self.running:
            parts.append(f"These processes ended with it: {self._named_processes()}.")
        if self.record.commands:
            parts.append("Commands on record that made it: " + "; ".join(self.record.commands) + ".")
        if self.record.dev_command:
            parts.append(f"The development server was started with: {self.record.dev_command}.")
        if live.snapshot_gone is not None:
            parts.append(f"The snapshot {live.snapshot_gone} is not there any more: it is made of what is usual.")
        if live.repository is not None:
            parts.append(_REPOSITORY[live.repository])
        elif self.record.spec.git_url:
            parts.append("The history of the git repository was not mirrored yet, and did not come back.")
        if self.unmirrored:
            named = ", ".join(sorted(self.unmirrored)[:MAX_NAMED])
            parts.append(f"Not mirrored before it was lost, so back as they were before, or gone: {named}.")
            self.unmirrored.clear()
        if live.problems:
            named = "; ".join(f"{_shown(path)} ({why})" for path, why in list(live.problems.items())[:MAX_NAMED])
            parts.append(f"{len(live.problems)} file(s) could not be restored: {named}.")
        self.notify(" ".join(parts))

    def _named_processes(self) -> str:
        named = [f"{process_id} ({command[:80]})" for process_id, command in list(self.running.items())[:MAX_NAMED]]
        return ", ".join(named)


def _shown(path: WorkspacePath) -> str:
    """One of a store that somebody else changed may hold anything, and be of any length."""
    shown = path if path.isprintable() else ascii(path)[1:-1]
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}…"


def _ignore(phase: Phase, percent: float) -> None:
    """Nobody watches the phases of a healing: the call that needed it is still waiting for its own answer."""
