"""What the supervisor asks of the kernel directly: process attributes, the process table, descriptors."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

__all__ = [
    "allow_inspection",
    "apply_limits",
    "become_subreaper",
    "close_all_but",
    "forbid_inspection",
    "kill_all_at_once",
    "kill_below",
    "parent_of",
    "reach_all_by",
    "send_signal",
    "session_of",
    "signal_when_parent_ends",
    "signals_as_reads",
    "terminate_below",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_SIGSET_BYTES = 128
_MAX_ROUNDS = 5

_libc = ctypes.CDLL(None, use_errno=True)

_reach_all: list[Callable[[int], None]] = []


def forbid_inspection() -> None:
    """Deny processes of the same user ptrace, and our memory and descriptors under /proc; children inherit it."""
    _prctl(_PR_SET_DUMPABLE, 0)


def allow_inspection() -> None:
    """Take that back, for this process."""
    _prctl(_PR_SET_DUMPABLE, 1)


def become_subreaper() -> None:
    """Whatever below us loses its parent becomes our child, not that of PID 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def apply_limits(limits: Mapping[str, int]) -> None:
    """Set resource limits of this process, soft and hard, by their names without RLIMIT_; never above the hard one."""
    for name, wanted in limits.items():
        which: int | None = getattr(resource, "RLIMIT_" + name, None)
        if which is None:
            continue
        hard = resource.getrlimit(which)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))


def close_all_but(kept: Collection[int]) -> None:
    """Close every descriptor but the three standard ones and those `kept`."""
    # Not os.closerange: where the C library lacks close_range it tries every number there could be.
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2 and number not in kept:
            try:
                os.close(number)
            except OSError:
                continue  # the one that listed the folder


def send_signal(pid: int, number: int) -> None:
    """Signal a process that may be gone already."""
    try:
        os.kill(pid, number)
    except OSError:
        return


def signals_as_reads(numbers: Collection[int]) -> int:
    """A descriptor to read a signalfd_siginfo from, 128 bytes, for each of these that came; they are blocked, and so
    they are in children.

    A handler would run each time that somebody sends one, and commands may: enough of them would keep us from all else.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    wanted = sum(1 << (number - 1) for number in numbers).to_bytes(_SIGSET_BYTES, sys.byteorder)
    descriptor = _libc.signalfd(-1, wanted, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def kill_below(root: int, spared: Collection[int] = (), signal_by: Callable[[int, int], None] = send_signal) -> int:
    """Kill every descendant of the process `root`, but not `spared` nor what is below them. Says how many there were.

    Each is stopped before any is killed: of processes that fork faster than they are killed one would always be left.
    What was being forked at that very moment may still survive, so repeat it until it says 0.
    """
    victims: set[int] = set()
    for _ in range(_MAX_ROUNDS):
        found = _below(root, spared) - victims
        if not found:
            break
        for pid in found:
            signal_by(pid, signal.SIGSTOP)
        victims |= found
    else:
        reach = _signal_namespace if os.getpid() == 1 else next(iter(_reach_all), None)
        if reach is not None:
            return _kill_frozen(root, spared, reach)
    for pid in victims:
        signal_by(pid, signal.SIGKILL)
    return len(victims)


def _kill_frozen(root: int, spared: Collection[int], reach: Callable[[int], None]) -> int:
    """`kill_below` for processes that come faster than they are found, while all that `reach` signals stands still."""
    # At one moment: what is being forked is stopped too.
    reach(signal.SIGSTOP)
    try:
        victims = _below(root, spared)
        for pid in victims:
            send_signal(pid, signal.SIGKILL)
    finally:
        reach(signal.SIGCONT)
    return len(victims)


def _signal_namespace(number: int) -> None:
    # From PID 1 this reaches everything else in its namespace; from any other process it would reach far more.
    os.kill(-1, number)


def reach_all_by(reach: Callable[[int], None]) -> None:
    """Have a way to signal all processes of the sandbox at one moment, and no other, where there is no PID 1."""
    _reach_all[:] = [reach]


def kill_all_at_once() -> None:
    """Kill all processes of the sandbox, where there is such a way."""
    for reach in _reach_all:
        reach(signal.SIGKILL)


def session_of(pid: int) -> int:
    """0 where there is no such process."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def signal_when_parent_ends(number: int) -> None:
    """Have that signal come to this process when the thread that forked it has ended, and again with its process."""
    _prctl(_PR_SET_PDEATHSIG, number)


def terminate_below(root: int, *, hangs_up: bool = False) -> None:
    """Ask every descendant of `root` to end; those that are stopped go on, so that they hear it. `hangs_up` tells them
    too that their terminal is gone.
    """
    for pid in _below(root, ()):
        if hangs_up:
            send_signal(pid, signal.SIGHUP)
        send_signal(pid, signal.SIGTERM)
        send_signal(pid, signal.SIGCONT)


def _below(root: int, spared: Collection[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            pid = int(name)
            parent = parent_of(name)
            if parent:
                children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in spared and pid not in found:
                found.add(pid)
                waiting.append(pid)
    return found


def parent_of(name: int | str) -> int:
    """The parent of a process, by its number; 0 where there is none."""
    try:
        opened = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(opened, 512)
        finally:
            os.close(opened)
    except OSError:
        return 0
    # The command's name comes first, in parentheses, and may hold any byte.
    fields = text.rpartition(b")")[2].split(None, 2)
    # One that has ended has nothing below it any more, and stays for as long as whoever traces it does not look.
    return int(fields[1]) if len(fields) > 1 and fields[0] != b"Z" else 0


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
