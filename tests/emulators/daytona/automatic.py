"""What happens to sandboxes by itself: those unused stop or pause, those stopped are archived or deleted."""

from __future__ import annotations

from datetime import timedelta

import anyio

from tests.emulators.daytona.lifecycle import Lifecycle
from tests.emulators.daytona.records import Sandbox

__all__ = ["keep_sweeping", "sweep"]

_SWEEP_S = 0.2
_LONGEST_UNARCHIVED = timedelta(days=30)


async def keep_sweeping(lifecycle: Lifecycle) -> None:
    while True:
        await anyio.sleep(_SWEEP_S)
        sweep(lifecycle)


def sweep(lifecycle: Lifecycle) -> None:
    """Begin whatever is due by the service's time. Only requests count as use, never what a sandbox does inside."""
    now = lifecycle.clock.now()
    for sandbox in lifecycle.all():
        if sandbox.state not in {"started", "stopped", "archived", "paused", "error"}:
            continue
        unused, stopped = now - sandbox.activity, now - (sandbox.stopped_since or now)
        if sandbox.destroy_at is not None and now >= sandbox.destroy_at:
            lifecycle.delete(sandbox)
        elif sandbox.state == "started":
            if _due(sandbox.auto_stop, unused):
                lifecycle.stop(sandbox)
            elif _due(sandbox.auto_pause, unused):
                lifecycle.pause(sandbox)
        elif sandbox.state in {"stopped", "archived"}:
            if _due(sandbox.auto_delete, stopped):
                lifecycle.delete(sandbox)
            elif sandbox.state == "stopped" and stopped >= _unarchived(sandbox):
                lifecycle.archive(sandbox)


def _due(minutes: int, passed: timedelta) -> bool:
    return minutes > 0 and passed >= timedelta(minutes=minutes)


def _unarchived(sandbox: Sandbox) -> timedelta:
    """0 does not switch it off: it means the longest that there is."""
    return timedelta(minutes=sandbox.auto_archive) if sandbox.auto_archive else _LONGEST_UNARCHIVED
