"""The process above the supervisor where no namespace ends with it: it outlives it, and ends what it left.

Commands cannot signal it, which is not of their domain. It is a subreaper, so that what a supervisor that was killed
leaves behind becomes its own and is found by walking down from it, whatever a command does in the meantime.
"""

from __future__ import annotations

import os
import signal
import time

from .kernel import become_subreaper, close_all_but, kill_below, signal_when_parent_ends

__all__ = ["fork_guarded"]

REST_S = 0.002
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def fork_guarded() -> None:
    """Go on as a child, in a session of its own, that ends when this process does; this process never returns."""
    guard = os.getpid()
    child = os.fork()
    if child:
        _watch(child)
    os.setsid()
    become_subreaper()  # which is not handed on
    signal_when_parent_ends(signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(70)


def _watch(child: int) -> None:

    def asked(_signal: int, _frame: object) -> None:
        os.kill(child, signal.SIGKILL)

    become_subreaper()
    close_all_but(())
    for number in _ASKED:
        signal.signal(number, asked)
    status = 0
    try:
        status = os.waitpid(child, 0)[1]
        for number in _ASKED:
            signal.signal(number, signal.SIG_IGN)
        _end_everything()
    finally:
        os._exit(max(0, os.waitstatus_to_exitcode(status)))


def _end_everything() -> None:
    while True:
        kill_below(os.getpid())
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(REST_S)
