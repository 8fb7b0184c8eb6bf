"""Work that goes on when the call that asked for it no longer waits, and that the same call joins again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.errors import Internal, SandboxUnavailable, VaporformError

__all__ = ["Errands"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Errand(Generic[T]):
    def __init__(self) -> None:
        self.settled = anyio.Event()
        self.result: T | None = None
        self.error: VaporformError | None = None
        self.waiting = 0


class Errands(Generic[T]):
    """`on_unheard` is given what an errand came to, where nobody waits for it any more."""

    def __init__(self, on_unheard: Callable[[str, T | VaporformError], None] | None = None) -> None:
        self._on_unheard = on_unheard
        self._group: TaskGroup | None = None
        self._begun = anyio.Event()
        self._under_way: dict[str, _Errand[T]] = {}

    async def run(self) -> None:
        """Do the work that is asked for; never returns."""
        async with anyio.create_task_group() as group:
            self._group = group
            self._begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                self._group = None

    def is_under_way(self, key: str) -> bool:
        return key in self._under_way

    async def settle(self) -> None:
        """Until nothing is under way."""
        while self._under_way:
            await next(iter(self._under_way.values())).settled.wait()

    async def join(self, key: str, work: Callable[[], Awaitable[T]], *, wait_s: float) -> T | None:
        """The outcome of the errand of that name, begun unless it is under way; None if that takes longer.

        Raises what `work` raises of ours.
        """
        deadline = anyio.current_time() + wait_s
        with anyio.CancelScope(deadline=deadline):
            await self._begun.wait()  # whoever asks as soon as the workspace is open may be earlier than `run`
        errand = self._under_way.get(key)
        if errand is None:
            if self._group is None:
                raise SandboxUnavailable("the workspace is being closed", hint="Repeat the call.")
            errand = self._under_way[key] = _Errand[T]()
            self._group.start_soon(self._do, key, work, errand)
        errand.waiting += 1
        try:
            with anyio.CancelScope(deadline=deadline):
                await errand.settled.wait()
        finally:
            errand.waiting -= 1
        if errand.error is not None:
            raise errand.error
        return errand.result

    async def _do(self, key: str, work: Callable[[], Awaitable[T]], errand: _Errand[T]) -> None:
        try:
            errand.result = await work()
        except VaporformError as error:
            errand.error = error
        except Exception:
            log.exception("%s failed", key)
            errand.error = Internal("it failed inside the server", hint="The server's log has the details.")
        finally:
            del self._under_way[key]
            outcome = errand.result if errand.error is None else errand.error
            if outcome is None:
                errand.error = SandboxUnavailable("the workspace was closed meanwhile", hint="Repeat the call.")
            elif not errand.waiting and self._on_unheard is not None:
                self._on_unheard(key, outcome)
            errand.settled.set()
