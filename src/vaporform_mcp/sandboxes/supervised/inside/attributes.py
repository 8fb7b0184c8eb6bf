"""chmod, chown, utime and their kin, done by the supervisor for commands: only on the sandbox's own files."""

from __future__ import annotations

import errno
import os
import struct

from .libc import call
from .places import AT_FDCWD, is_at

__all__ = ["Attributes"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .notices import Notice
    from .places import Places

_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000
_TIMES = struct.Struct("=4q")  # two of seconds and of what is less than one
_SECONDS = struct.Struct("=2q")
_MODES = 0o7777


class Attributes:
    def __init__(self, places: Places) -> None:
        self._places = places

    def operations(self) -> dict[str, Callable[[Notice], int]]:
        """By the names of system calls; each raises `OSError` for the command."""
        return {
            "chmod": lambda notice: self._mode(notice, self._at(notice, 0), notice.integer(1)),
            "fchmod": lambda notice: self._mode(notice, self._open(notice), notice.integer(1)),
            "fchmodat": lambda notice: self._mode(notice, self._under(notice, 0), notice.integer(2)),
            "fchmodat2": lambda notice: self._mode(notice, self._under(notice, notice.integer(3)), notice.integer(2)),
            "chown": lambda notice: self._owner(self._at(notice, 0), notice, 1),
            "lchown": lambda notice: self._owner(self._at(notice, 0, follow=False), notice, 1),
            "fchown": lambda notice: self._owner(self._open(notice), notice, 1),
            "fchownat": lambda notice: self._owner(self._under(notice, notice.integer(4)), notice, 2),
            "utime": lambda notice: _set_times(_from_seconds(notice), lambda: self._at(notice, 0)),
            "utimes": lambda notice: _set_times(_from_microseconds(notice, 1), lambda: self._at(notice, 0)),
            "futimesat": lambda notice: _set_times(_from_microseconds(notice, 2), lambda: self._under(notice, 0)),
            "utimensat": self._utimensat,
        }

    # Which file ------------------------------------------------------------------------------------------------

    def _at(self, notice: Notice, index: int, *, follow: bool = True) -> int:
        return self._places.open(notice, AT_FDCWD, notice.text(index), follow=follow)

    def _open(self, notice: Notice) -> int:
        return self._places.open_descriptor(notice, notice.integer(0))

    def _under(self, notice: Notice, flags: int) -> int:
        if flags & ~(_AT_SYMLINK_NOFOLLOW | _AT_EMPTY_PATH):
            raise OSError(errno.EINVAL, "")
        # Without a path, the folder itself is meant; futimes does so.
        path = notice.text(1) if notice.arguments[1] else b""
        if not path:
            if notice.arguments[1] and not flags & _AT_EMPTY_PATH:
                raise OSError(errno.ENOENT, "")
            return self._open(notice)
        return self._places.open(notice, notice.integer(0), path, follow=not flags & _AT_SYMLINK_NOFOLLOW)

    # The deed --------------------------------------------------------------------------------------------------

    def _mode(self, _notice: Notice, target: int, mode: int) -> int:
        try:
            os.chmod(is_at(target), mode & _MODES)
        finally:
            os.close(target)
        return 0

    def _owner(self, target: int, notice: Notice, index: int) -> int:
        try:
            return call("fchownat", target, b"", notice.integer(index), notice.integer(index + 1), _AT_EMPTY_PATH)
        finally:
            os.close(target)

    def _utimensat(self, notice: Notice) -> int:
        times = notice.memory(2, _TIMES.size) if notice.arguments[2] else None
        return _set_times(times, lambda: self._under(notice, notice.integer(3)))


def _set_times(times: bytes | None, open_target: Callable[[], int]) -> int:
    target = open_target()
    try:
        return call("utimensat", target, b"", times, _AT_EMPTY_PATH)
    finally:
        os.close(target)


def _from_seconds(notice: Notice) -> bytes | None:
    if not notice.arguments[1]:
        return None
    accessed, changed = _SECONDS.unpack(notice.memory(1, _SECONDS.size))
    return _TIMES.pack(accessed, 0, changed, 0)


def _from_microseconds(notice: Notice, index: int) -> bytes | None:
    if not notice.arguments[index]:
        return None
    accessed, accessed_us, changed, changed_us = _TIMES.unpack(notice.memory(index, _TIMES.size))
    if not (0 <= accessed_us < 1_000_000 and 0 <= changed_us < 1_000_000):
        raise OSError(errno.EINVAL, "")
    return _TIMES.pack(accessed, accessed_us * 1_000, changed, changed_us * 1_000)
