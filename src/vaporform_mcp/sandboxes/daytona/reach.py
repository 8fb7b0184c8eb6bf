"""What runs in a sandbox is reached by requests to it; one that sleeps is woken for them, one that is gone is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import anyio

from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.faults import failed, is_transient
from vaporform_mcp.sandboxes.daytona.service import Machine, Refused, Service
from vaporform_mcp.sandboxes.daytona.waking import GONE, bring_up, lost
from vaporform_mcp.sandboxes.supervised.asking import LostMeanwhile

__all__ = ["Printed", "Reach"]

T = TypeVar("T")

TRIES = 4
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0
TRANSFER_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a command printed. `is_certain`: no earlier try of it can have done anything."""

    text: str
    is_certain: bool


class Reach:
    """Every request is made so that repeating it is harmless; whoever asks sees to that."""

    def __init__(self, service: Service, config: DaytonaConfig, machine: Machine) -> None:
        self.service = service
        self.machine = machine
        self._config = config
        self._waking = anyio.Lock()
        self._looked_at = float("-inf")
        self._answered_at = float("-inf")

    async def execute(self, command: str, *, within_s: float) -> Printed:
        """Run a shell line.

        Raises:
            SandboxLost: the sandbox was deleted, before it was asked.
            LostMeanwhile: since.
            SandboxUnavailable: it cannot be reached.
        """
        text, is_certain = await self._ask(
            lambda: self.service.execute(self.machine, command, within_s=within_s), "did not run a command"
        )
        return Printed(text=text, is_certain=is_certain)

    async def upload(self, files: Mapping[str, bytes]) -> None:
        await self._ask(lambda: self.service.upload(self.machine, files, within_s=TRANSFER_S), "did not take files")

    async def download(self, path: str) -> bytes | None:
        found, _ = await self._ask(
            lambda: self.service.download(self.machine, path, within_s=TRANSFER_S), "did not give a file"
        )
        return found

    async def look(self, *, at_most_s: float = 0.0) -> Machine:
        """What the service says of the sandbox, at most so long ago. Raises `SandboxLost`."""
        if anyio.current_time() - self._looked_at < at_most_s:
            return self.machine
        try:
            machine = await self.service.find(self.machine.id)
        except Refused as error:
            raise failed(error.failure, "did not say how the sandbox is", self.machine.id) from None
        if machine is None or machine.state in GONE:
            raise lost(self.machine.id)
        self.machine = machine
        self._looked_at = anyio.current_time()
        return machine

    async def awake(self, *, at_most_s: float) -> Machine:
        """The sandbox, started if it sleeps; one that answered at most so long ago is not looked after.

        Raises `SandboxLost`, `SandboxUnavailable`.
        """
        if anyio.current_time() - self._answered_at >= at_most_s:
            await self._wake(is_certain=True)
        return self.machine

    async def _ask(self, request: Callable[[], Awaitable[T]], doing: str) -> tuple[T, bool]:
        """The answer, and whether the tries that failed before it cannot have been heard."""
        pause_s = FIRST_PAUSE_S
        is_certain = True
        began = anyio.current_time()
        tries = 0
        while True:
            try:
                answer = await request()
            except Refused as error:
                failure = error.failure
            else:
                self._answered_at = anyio.current_time()
                return answer, is_certain
            if not (failure.says_not_running or is_transient(failure) or failure.status in {404, 410}):
                raise failed(failure, doing, self.machine.id)
            is_certain = is_certain and (failure.says_not_running or failure.status in {404, 410})
            was_running = await self._wake(is_certain=is_certain)
            tries += 1
            # One that has just been started is said to run some time before it can be reached.
            is_starting = failure.says_not_running and anyio.current_time() - began < self._config.ready_s
            if tries >= TRIES and not is_starting:
                raise failed(failure, doing, self.machine.id)
            if was_running:
                await anyio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _wake(self, *, is_certain: bool) -> bool:
        """See to it that the sandbox runs; whether it did already. Raises `SandboxLost`, `LostMeanwhile`."""
        async with self._waking:
            try:
                found = await self.service.find(self.machine.id)
            except Refused as error:
                raise failed(error.failure, "did not say how the sandbox is", self.machine.id) from None
            if found is None or found.state in GONE:
                raise lost(self.machine.id) if is_certain else LostMeanwhile
            if found.state == "started":
                self.machine = found
                return True
            self.machine = await bring_up(self.service, found.id, self._config, _ignore)
            return False


def _ignore(_percent: float) -> None:
    """Nobody watches: the call that needs the sandbox waits for its own answer."""
