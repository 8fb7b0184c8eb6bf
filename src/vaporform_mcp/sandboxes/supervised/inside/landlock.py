"""Landlock: which files commands may touch, and that signals and abstract sockets stay among them.

Rights, scopes and the versions (ABI) that brought them: linux/landlock.h, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from .libc import call

__all__ = ["SCOPES_SINCE", "Rules", "supported_abi"]

_VERSION = 1
_PATH_BENEATH = 1
_ATTRIBUTES = struct.Struct("=QQQ")  # files, TCP ports, scopes
_BENEATH = struct.Struct("=Qi")

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 9
_MAKE_FIFO, _MAKE_SYM = 1 << 10, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

_SIZES = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}
_ALL_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_FILES_SINCE_5 = (1 << 16) - 1
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
SCOPES_SINCE = 6
_SCOPES = 3  # abstract sockets, signals

_READ = _READ_FILE | _READ_DIR
_RUN = _READ | _EXECUTE
_MAKE = _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
_CHANGE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE | _REFER | _TRUNCATE
_DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV

_MACHINE = {
    **dict.fromkeys(("/dev/null", "/dev/zero", "/dev/full", "/dev/tty"), _DEVICE),
    **dict.fromkeys(("/dev/random", "/dev/urandom"), _READ_FILE),
    # Semaphores and shared memory are files there. Names cannot be listed.
    "/dev/shm": _READ_FILE | _WRITE_FILE | _MAKE_REG | _REMOVE_FILE | _TRUNCATE,  # noqa: S108
    **dict.fromkeys(("/proc", "/sys/devices/system/cpu", "/sys/devices/system/node"), _READ),
}
"""What every program wants of a machine. Terminals are not among it, which may be anybody's: commands inherit one."""

_TERMINALS = dict.fromkeys(("/dev/ptmx", "/dev/pts"), _DEVICE)
"""For whoever opens one for a command."""


class Rules:
    """`read` has paths with whether they may be executed too; what is missing of these is passed over."""

    def __init__(self, read: list[tuple[str, bool]], write: list[str]) -> None:
        self._rights = dict(_MACHINE)
        for path, executable in read:
            self._rights[path] = self._rights.get(path, 0) | (_RUN if executable else _READ)
        self._write = dict.fromkeys(write, _RUN | _CHANGE)

    def enter(self, abi: int) -> None:
        """Have this thread, and what it starts, see no other files, but make terminals. Raises `OSError`."""
        self._enter(abi, {**self._rights, **_TERMINALS}, 0)

    def wall_in(self, abi: int) -> bool:
        """Make this thread, and what it starts, a domain of their own, which cannot trace who is outside, nor open a
        terminal.

        Answers whether signals and abstract sockets stay in it too. Raises `OSError`.
        """
        scopes = _SCOPES if abi >= SCOPES_SINCE else 0
        self._enter(abi, self._rights, scopes)
        return scopes != 0

    def _enter(self, abi: int, readable: dict[str, int], scopes: int) -> None:
        handled = _ALL_FILES.get(abi, _ALL_FILES_SINCE_5)
        ruleset = _create(handled, scopes, abi)
        try:
            for path, rights in readable.items():
                try:
                    _allow(ruleset, path, rights & handled)
                except OSError as error:
                    if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP}:
                        raise
            for path, rights in self._write.items():
                _allow(ruleset, path, rights & handled)
            call("landlock_restrict_self", ruleset, 0)
        finally:
            os.close(ruleset)


def supported_abi() -> int:
    """The version that the kernel has. Raises `OSError` where it has none, or may not be asked."""
    return call("landlock_create_ruleset", None, 0, _VERSION)


def _create(files: int, scopes: int, abi: int) -> int:
    size = _SIZES.get(abi, _ATTRIBUTES.size)
    return call("landlock_create_ruleset", _ATTRIBUTES.pack(files, 0, scopes)[:size], size, 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _OF_A_FILE
        call("landlock_add_rule", ruleset, _PATH_BENEATH, _BENEATH.pack(rights, opened), 0)
    finally:
        os.close(opened)
