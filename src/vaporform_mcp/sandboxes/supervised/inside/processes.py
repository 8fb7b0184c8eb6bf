"""Calls of commands that name another process by its number: let through where that is one of the sandbox's own."""

from __future__ import annotations

import errno
import os

from .belonging import is_below, members
from .filtering import KILLS, ON_A_PROCESS

__all__ = ["Processes"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .notices import Notice

_GROUP = {"setpriority": 1, "ioprio_set": 2}
"""Asked so, these mean a process group."""

_SIGNAL_ARGUMENT = 1
_MAX_ROUNDS = 3


class Processes:
    """`spared` are the supervisor's children that are no commands; it may change."""

    def __init__(self, spared: Collection[int]) -> None:
        self._me = os.getpid()
        self._spared = spared

    def owns(self, pid: int) -> bool:
        return is_below(pid, self._me, self._spared)

    def operations(self) -> dict[str, Callable[[Notice], int | None]]:
        """By the names of system calls; each answers by itself, or raises `OSError` for the command."""
        found: dict[str, Callable[[Notice], int | None]] = {}
        for name, index in ON_A_PROCESS.items():
            found[name] = lambda notice, name=name, index=index: self._named(notice, index, _GROUP.get(name))
        for name, indices in KILLS.items():
            found[name] = lambda notice, indices=indices: self._signal(notice, indices)
        found["kill"] = self._kill
        return found

    def _named(self, notice: Notice, index: int, group: int | None) -> None:
        named = notice.integer(index)
        if group is not None and notice.integer(0) == group:
            self._require_all(members(named))
        else:
            self._require(named)
        notice.let_through()

    def _signal(self, notice: Notice, indices: tuple[int, ...]) -> None:
        for index in indices:
            self._require(notice.integer(index))
        notice.let_through()

    def _kill(self, notice: Notice) -> int | None:
        named = notice.integer(0)
        if named == -1:
            return self._kill_all(int(notice.status(b"Tgid")), notice.integer(_SIGNAL_ARGUMENT))
        if named > 0:
            self._require(named)
        elif named < 0:
            self._require_all(members(-named))
        # Its own group is of its session, and that began below a keeper.
        notice.let_through()
        return None

    def _kill_all(self, caller: int, number: int) -> int:
        reached: set[int] = set()
        for _ in range(_MAX_ROUNDS):
            found = {int(name) for name in os.listdir("/proc") if name.isdigit()} - reached - {caller}
            own = {pid for pid in found if self.owns(pid)}
            if not own:
                break
            for pid in own:
                os.kill(pid, number)
            reached |= own
        if not reached:
            raise OSError(errno.ESRCH, "")
        return 0

    def _require(self, pid: int) -> None:
        if not self.owns(pid):
            # As the kernel tells them apart.
            raise OSError(errno.EPERM if os.path.exists(f"/proc/{pid}") else errno.ESRCH, "")

    def _require_all(self, pids: list[int]) -> None:
        if not pids:
            raise OSError(errno.ESRCH, "")
        for pid in pids:
            self._require(pid)
