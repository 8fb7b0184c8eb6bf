"""How a keeper learns that its supervisor has ended, where no namespace ends with it."""

from __future__ import annotations

import os
import signal
import time

from .kernel import signal_when_parent_ends

__all__ = ["mind"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LAST_S = 1.0
LOOK_S = 0.001


def mind(supervisor: int, bereaved: Callable[[], None]) -> Callable[[], None]:
    """Call `bereaved` when the supervisor has ended. Answers with what waits for that, where it may be about to."""

    def look(_signal: int, _frame: object) -> None:
        # It comes when the thread that forked us has ended, at first, and anybody may send it.
        if os.getppid() != supervisor:
            bereaved()

    def wait() -> None:
        # Its descriptors are closed a moment before it has ended.
        until = time.monotonic() + LAST_S
        while time.monotonic() < until:
            look(0, None)
            time.sleep(LOOK_S)

    # Stopped by a command, a process is set going again when its group has lost the last parent in its session.
    os.setpgid(0, 0)
    signal.signal(signal.SIGHUP, look)
    signal_when_parent_ends(signal.SIGHUP)
    look(0, None)
    return wait
