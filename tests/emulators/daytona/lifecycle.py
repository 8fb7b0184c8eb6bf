"""The states of sandboxes, and what takes them from one to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from tests.emulators.daytona.clock import Clock
from tests.emulators.daytona.egress import Egress
from tests.emulators.daytona.limits import Limits
from tests.emulators.daytona.machine.wire import Refusal
from tests.emulators.daytona.machines import Machines
from tests.emulators.daytona.records import Sandbox
from tests.emulators.daytona.timings import QUICK

__all__ = ["Lifecycle", "Outcome"]

_PASSING = frozenset(QUICK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a creation or start goes that a test wants to fail: the state where it ends, or in which it is stuck."""

    state: str
    reason: str = ""
    recoverable: bool = False


class Lifecycle:
    """Every sandbox that there is. A change of state is asked for, answered at once, and done in the background."""

    def __init__(self, machines: Machines, egress: Egress, clock: Clock, tasks: TaskGroup) -> None:
        self.machines = machines
        self.egress = egress
        self.clock = clock
        self.limits = Limits()
        self.timings = dict(QUICK)
        self.outcomes: deque[Outcome] = deque()  # of the creations, starts and snapshots to come, in this order
        self.sandboxes: dict[str, Sandbox] = {}
        self._tasks = tasks

    def all(self) -> list[Sandbox]:
        return list(self.sandboxes.values())

    def find(self, id_or_name: str) -> Sandbox:
        if found := self.sandboxes.get(id_or_name):
            return found
        for sandbox in self.sandboxes.values():
            if sandbox.name == id_or_name:
                return sandbox
        raise Refusal(404, f"Sandbox with ID or name {id_or_name} not found")

    def settled(self, id_or_name: str) -> Sandbox:
        """A sandbox that no other change has in its hands. Raises `Refusal` otherwise."""
        sandbox = self.find(id_or_name)
        if sandbox.state in _PASSING:
            raise Refusal(409, "Sandbox state change in progress")
        return sandbox

    def add(self, sandbox: Sandbox, *, source: Path | None = None) -> None:
        if any(each.name == sandbox.name for each in self.sandboxes.values()):
            raise Refusal(409, f"Sandbox with name {sandbox.name} already exists")
        self.limits.check_size(sandbox)
        self.limits.check_totals(self.all(), sandbox)
        self.sandboxes[sandbox.id] = sandbox
        first = "pending_build" if sandbox.dockerfile else "creating"
        self._begin(sandbox, first, lambda: self._create(sandbox, source))

    async def _create(self, sandbox: Sandbox, source: Path | None) -> None:
        outcome = self.outcomes.popleft() if self.outcomes else None
        if outcome is None and sandbox.image.failure:
            outcome = Outcome(state="build_failed", reason=sandbox.image.failure)
        building = ("pending_build", "building_snapshot") if sandbox.dockerfile else ()
        for state in (*building, "creating"):
            await self._pass(sandbox, state)
            if outcome is not None and (
                state == outcome.state or (outcome.state == "build_failed" and building[-1:] == (state,))
            ):
                break
        if outcome is not None:
            self._end(sandbox, outcome)
            return
        if source is None:
            self.machines.prepare(sandbox.id)
        else:
            await anyio.to_thread.run_sync(self.machines.prepare, sandbox.id, source)
        await self._run(sandbox)

    def _end(self, sandbox: Sandbox, outcome: Outcome) -> None:
        sandbox.error_reason = outcome.reason
        sandbox.recoverable = outcome.recoverable
        self._set(sandbox, outcome.state)

    async def _run(self, sandbox: Sandbox) -> None:
        await self._pass(sandbox, "starting")
        machine = await self.machines.start(sandbox.id, sandbox.image, sandbox.env)
        if sandbox.id not in self.sandboxes:  # it has vanished meanwhile
            await machine.stop()
            return
        sandbox.machine = machine
        self._tasks.start_soon(self.egress.serve, sandbox, machine)
        sandbox.error_reason, sandbox.recoverable, sandbox.stopped_since = "", False, None
        sandbox.started = self.clock.now()
        self.touch(sandbox)
        self._set(sandbox, "started")

    def start(self, sandbox: Sandbox) -> None:
        begun = {"stopped": "starting", "archived": "restoring", "paused": "resuming"}.get(sandbox.state)
        if sandbox.state == "started":
            return
        if begun is None:
            raise Refusal(400, f"Sandbox is in state {sandbox.state} and cannot be started")
        self.limits.check_totals(self.all(), sandbox)
        sandbox.desired_state = "started"
        self._begin(sandbox, begun, lambda: self._start(sandbox, begun))

    async def _start(self, sandbox: Sandbox, begun: str) -> None:
        if begun != "starting":
            await self._pass(sandbox, begun)
        if self.outcomes:
            self._end(sandbox, self.outcomes.popleft())
        elif sandbox.machine is not None:  # it was paused
            self.touch(sandbox)
            self._set(sandbox, "started")
        else:
            await self._run(sandbox)

    def recover(self, sandbox: Sandbox) -> None:
        if sandbox.state != "error" or not sandbox.recoverable:
            raise Refusal(400, "Sandbox is not in a recoverable error state")
        self._begin(sandbox, "starting", lambda: self._start(sandbox, "starting"))

    def stop(self, sandbox: Sandbox) -> None:
        if sandbox.state not in {"started", "paused"}:
            raise Refusal(400, "Sandbox is not started")
        sandbox.desired_state = "stopped"
        self._begin(sandbox, "stopping", lambda: self._stop(sandbox))

    async def _stop(self, sandbox: Sandbox) -> None:
        await self._halt(sandbox)
        await self._pass(sandbox, "stopping")
        if sandbox.ends_unused:
            await self._destroy(sandbox)
            return
        sandbox.stopped_since = self.clock.now()
        self._set(sandbox, "stopped")

    def pause(self, sandbox: Sandbox) -> None:
        if sandbox.state != "started":
            raise Refusal(400, "Sandbox is not started")
        sandbox.desired_state = "paused"
        self._begin(sandbox, "pausing", lambda: self._settle(sandbox, "pausing", "paused"))

    def archive(self, sandbox: Sandbox) -> None:
        if sandbox.state != "stopped":
            raise Refusal(400, "Sandbox is not stopped")
        sandbox.desired_state = "archived"
        self._begin(sandbox, "archiving", lambda: self._settle(sandbox, "archiving", "archived"))

    def resize(self, sandbox: Sandbox, *, cpu: int | None, memory: int | None, disk: int | None) -> None:
        if sandbox.state not in {"started", "stopped"}:
            raise Refusal(400, "Sandbox must be started or stopped to be resized")
        if disk is not None and (sandbox.state != "stopped" or disk < sandbox.disk):
            raise Refusal(400, "Disk can only be increased, and only while the sandbox is stopped")
        sandbox.cpu, sandbox.memory, sandbox.disk = cpu or sandbox.cpu, memory or sandbox.memory, disk or sandbox.disk
        then = sandbox.state
        self._begin(sandbox, "resizing", lambda: self._settle(sandbox, "resizing", then))

    def borrow(self, sandbox: Sandbox, passing: str, work: Callable[[], Awaitable[None]]) -> None:
        """Pass through a state while something is done with it, and be as before."""
        then = sandbox.state

        async def change() -> None:
            await self._pass(sandbox, passing)
            try:
                await work()
            finally:
                self._set(sandbox, then)

        self._begin(sandbox, passing, change)

    def delete(self, sandbox: Sandbox) -> None:
        sandbox.desired_state = "destroyed"
        self._begin(sandbox, "destroying", lambda: self._destroy(sandbox))

    async def _settle(self, sandbox: Sandbox, passing: str, then: str) -> None:
        await self._pass(sandbox, passing)
        self._set(sandbox, then)

    async def _destroy(self, sandbox: Sandbox) -> None:
        await self._halt(sandbox)
        await self._pass(sandbox, "destroying")
        await self.vanish(sandbox)

    async def vanish(self, sandbox: Sandbox) -> None:
        """It is gone at once, with its files and its name."""
        self.sandboxes.pop(sandbox.id, None)
        self._set(sandbox, "destroyed")
        await self._halt(sandbox)
        await anyio.to_thread.run_sync(self.machines.remove, sandbox.id)

    def touch(self, sandbox: Sandbox) -> None:
        """Somebody used it: the time after which it stops by itself begins anew."""
        sandbox.activity = self.clock.now()

    async def _halt(self, sandbox: Sandbox) -> None:
        if sandbox.machine is not None:
            machine, sandbox.machine = sandbox.machine, None
            await machine.stop()

    def _set(self, sandbox: Sandbox, state: str) -> None:
        sandbox.state = state
        sandbox.updated = self.clock.now()

    async def force(self, sandbox: Sandbox, outcome: Outcome) -> None:
        """As if something had happened to it that nobody asked for."""
        self._end(sandbox, outcome)
        if outcome.state not in {"started", "paused"}:
            await self._halt(sandbox)

    async def _pass(self, sandbox: Sandbox, state: str) -> None:
        self._set(sandbox, state)
        await anyio.sleep(self.timings[state])

    def _begin(self, sandbox: Sandbox, state: str, change: Callable[[], Awaitable[None]]) -> None:
        self._set(sandbox, state)
        self._tasks.start_soon(self._change, sandbox, change)

    async def _change(self, sandbox: Sandbox, change: Callable[[], Awaitable[None]]) -> None:
        try:
            await change()
        except (Refusal, OSError) as error:
            self._end(sandbox, Outcome(state="error", reason=str(error)))

    async def aclose(self) -> None:
        """Every machine ends."""
        for sandbox in self.all():
            await self._halt(sandbox)
