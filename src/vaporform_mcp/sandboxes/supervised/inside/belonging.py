"""What is the sandbox's own: its processes, and the sockets that it listens with."""

from __future__ import annotations

import os

from .kernel import parent_of
from .ports import PortTable

__all__ = ["OwnListeners", "is_below", "members"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from .ports import Listener

MAX_DEPTH = 256
"""What is deeper below the supervisor is not believed to be: looking would take long."""

MAX_KNOWN = 1_024


class OwnListeners:
    """The listening sockets of the sandbox, by their inodes: `listen` is a call that only the supervisor makes.

    Used by several threads: each of its steps is one that none can interrupt.
    """

    def __init__(self) -> None:
        self._of_commands: set[int] = set()
        self._lent: set[int] = set()

    def add(self, inode: int) -> None:
        """A command listens with it."""
        self._of_commands.add(inode)

    def lend(self, descriptor: int) -> None:
        """Commands may connect to this socket of the supervisor's."""
        self._lent.add(os.fstat(descriptor).st_ino)

    def ports(self, table: PortTable) -> set[int]:
        """Ports that commands listen on."""
        before = set(self._of_commands) if len(self._of_commands) > MAX_KNOWN else set[int]()
        there = table.listeners()
        self._of_commands -= before - {inode for _, _, inode in there}
        return {port for _, port, inode in there if inode in self._of_commands}

    def has(self, table: PortTable, port: int) -> bool:
        """Whether commands listen on that port, and nobody else does at any of its addresses."""
        found = [each for each in table.listeners() if each[1] == port]
        return bool(found) and self.are_own(found)

    def are_own(self, found: Collection[Listener]) -> bool:
        return all(inode in self._of_commands or inode in self._lent for _, _, inode in found)


def is_below(pid: int, top: int, spared: Collection[int]) -> bool:
    """Whether the process, or thread, `pid` is a descendant of `top`, and not of those `spared`."""
    for _ in range(MAX_DEPTH):
        if pid in spared or pid <= 1:
            return False
        pid = parent_of(pid)
        if pid == top:
            return True
    return False


def members(group: int) -> list[int]:
    """The processes of a process group."""
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == group:
                    found.append(int(name))
            except OSError:
                continue
    return found
