"""When to sync in the background: soon after a command, again while processes run, later when the store is down."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from vaporform_mcp.errors import SandboxLost, VaporformError

__all__ = ["SyncLoop", "SyncOutcome"]

log = logging.getLogger(__name__)

COALESCE_S = 0.25
"""Commands often come in bursts; a scan between two of them would only be in their way."""

LONGEST_COALESCE_S = 2.0
WATCH_S = 10.0
LONGEST_WATCH_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOutcome:
    """`retry_in_s`: the sync failed for now and is to be tried again then. `watch`: processes run that may write."""

    changed: bool
    watch: bool
    retry_in_s: float | None = None


class SyncLoop:
    """One task per workspace. `pending` from a request until a sync that began after it has succeeded."""

    def __init__(self, sync: Callable[[str], Awaitable[SyncOutcome]]) -> None:
        self._sync = sync
        self._wanted = anyio.Event()
        self._requests = 0
        self._done = 0
        self._made_by = "sync"

    @property
    def pending(self) -> bool:
        return self._requests > self._done

    def request(self, made_by: str) -> None:
        self._requests += 1
        self._made_by = made_by
        self._wanted.set()

    def covered(self, requests: int) -> None:
        """A sync that began when `requests` were made has succeeded."""
        self._done = max(self._done, requests)

    @property
    def requests(self) -> int:
        return self._requests

    async def run(self) -> None:
        again_s: float | None = None
        watch_s = WATCH_S
        while True:
            with anyio.move_on_after(again_s if again_s is not None else float("inf")):
                await self._wanted.wait()
            await self._settle()
            outcome = await self._once()
            watch_s = WATCH_S if outcome.changed else min(watch_s * 2, LONGEST_WATCH_S)
            again_s = outcome.retry_in_s if outcome.retry_in_s is not None else watch_s if outcome.watch else None

    async def _settle(self) -> None:
        with anyio.move_on_after(LONGEST_COALESCE_S):
            while self._wanted.is_set():
                self._wanted = anyio.Event()
                await anyio.sleep(COALESCE_S)

    async def _once(self) -> SyncOutcome:
        try:
            return await self._sync(self._made_by)
        except SandboxLost as error:
            # The next call heals it and asks for a sync again; a background task must not resurrect it.
            log.info("background sync put off: %s", error)
            return SyncOutcome(changed=False, watch=False)
        except VaporformError as error:
            log.info("background sync failed for now: %s", error)
            return SyncOutcome(changed=False, watch=False, retry_in_s=WATCH_S)
        except Exception:
            log.exception("background sync failed")
            return SyncOutcome(changed=False, watch=False, retry_in_s=LONGEST_WATCH_S)
