"""When to sync in the background: soon after a command, ever more rarely then, later when the store is down."""

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
LONGEST_IDLE_S = 600.0
"""A child that its command left in the background is no process of ours to see, and may write at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOutcome:
    """`retry_in_s`: the sync failed for now and is to be tried again then. `watch`: processes run that may write."""

    changed: bool
    watch: bool
    retry_in_s: float | None = None


class SyncLoop:
    """One task per workspace. `sync` is told who made what it finds, and whether it should look at everything: in quiet
    moments, which nobody waits for, it does.

    `pending` from a request until a sync that began after it has succeeded."""

    def __init__(self, sync: Callable[[str, bool], Awaitable[SyncOutcome]]) -> None:
        self._sync = sync
        self._wanted = anyio.Event()
        self._requests = 0
        self._done = 0
        self._asked_at = float("-inf")
        self._made_by = "sync"

    @property
    def pending(self) -> bool:
        return self._requests > self._done

    @property
    def made_by(self) -> str:
        """What asked for a sync last."""
        return self._made_by

    def request(self, made_by: str) -> None:
        self._requests += 1
        self._asked_at = anyio.current_time()
        self._made_by = made_by
        self._wanted.set()

    def covered(self, requests: int) -> None:
        """A sync that began when `requests` were made has succeeded."""
        self._done = max(self._done, requests)

    @property
    def requests(self) -> int:
        return self._requests

    async def run(self) -> None:
        again_s = float("inf")  # until the first request
        watch_s = WATCH_S
        while True:
            with anyio.move_on_after(again_s):
                await self._wanted.wait()
            await self._settle()
            outcome = await self._once(thorough=not self.pending)
            watch_s = WATCH_S if outcome.changed else watch_s * 2
            watch_s = min(watch_s, LONGEST_WATCH_S if outcome.watch else LONGEST_IDLE_S)
            again_s = outcome.retry_in_s if outcome.retry_in_s is not None else watch_s

    async def _settle(self) -> None:
        """Until nothing was asked for a while, or that took too long."""
        latest = anyio.current_time() + LONGEST_COALESCE_S
        while (left_s := min(self._asked_at + COALESCE_S, latest) - anyio.current_time()) > 0:  # noqa: ASYNC110  # until a while has passed
            await anyio.sleep(left_s)
        self._wanted = anyio.Event()

    async def _once(self, *, thorough: bool) -> SyncOutcome:
        try:
            return await self._sync(self._made_by, thorough)
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
