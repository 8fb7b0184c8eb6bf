"""A command's socket in the supervisor's hands: a copy, or where that is refused a new one to put in its place."""

from __future__ import annotations

import errno
import os
import re
import socket

from .libc import checked, library

__all__ = ["Replacement"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from .notices import Notice

MAX_REMEMBERED = 4_096
_SOCKET = re.compile(rb"socket:\[(\d+)\]")
_BACKLOG = 128
_KINDS: dict[int, int] = {
    **dict.fromkeys((socket.AF_INET, socket.AF_INET6, socket.AF_UNIX), socket.SOCK_STREAM),
    socket.AF_NETLINK: socket.SOCK_RAW,
}
"""What is made of each family, since what the command made cannot be seen."""


def _socket(descriptor: int) -> socket.socket:
    """Takes the descriptor over. Raises `OSError`: it is no socket."""
    try:
        return socket.socket(fileno=descriptor)
    except BaseException:
        os.close(descriptor)
        raise


class Replacement:
    """`socket` is what to act on; `install` then gives it to the command, if it is not theirs already.

    A new socket has what it was bound to from an earlier one, but not its other options; it is of the family that the
    address is of. One bound to a file listens from then on.
    """

    _bound: dict[int, bytes] = {}  # noqa: RUF012
    """Of new sockets by their inode: what each was bound to."""

    def __init__(self, notice: Notice, theirs: socket.socket, *, instead_of: int | None = None) -> None:
        self.socket = theirs
        self._notice = notice
        self._number = notice.integer(0)
        self._is_new = instead_of is not None
        self._before = self._bound.get(instead_of or 0, b"")
        self._flags = _flags(notice, self._number) if self._is_new else 0

    @classmethod
    def of(cls, notice: Notice, family: int | None, *, always: bool) -> Replacement:
        """Of the command's first argument; a new one where `always`, or where it cannot be copied.

        Raises:
            OSError: EBADF; ENOTSOCK; EPERM where whoever calls cannot be looked into.
        """
        if not always:
            try:
                return cls(notice, _socket(notice.copy_of(notice.integer(0))))
            except OSError as error:
                if error.errno not in {errno.EPERM, errno.ENOSYS}:
                    raise
        inode = _inode(notice, notice.integer(0))
        if family is None:
            family = int.from_bytes(cls._bound.get(inode, b"")[:2], "little") or socket.AF_INET
        kind = _KINDS.get(family)
        if kind is None:
            raise OSError(errno.EOPNOTSUPP, "")
        made = cls(notice, socket.socket(family, kind), instead_of=inode)
        if family in {socket.AF_INET, socket.AF_INET6}:
            made.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def inode(self) -> int:
        return os.fstat(self.socket.fileno()).st_ino

    @property
    def blocks(self) -> bool:
        """Whether whoever calls waits for what it asks."""
        return not (self._flags & os.O_NONBLOCK) if self._is_new else os.get_blocking(self.socket.fileno())

    @property
    def listens(self) -> bool:
        """Whether it does already, because it was bound to a file."""
        return self._before[:2] == socket.AF_UNIX.to_bytes(2, "little")

    def bind(self, raw: bytes) -> None:
        """Raises `OSError`."""
        checked(library.bind(self.socket.fileno(), raw, len(raw)))
        if self._is_new:
            if self.socket.family == socket.AF_UNIX:
                self.socket.listen(_BACKLOG)
            self._remember(raw)

    def restore(self) -> None:
        """Bind a new one to what the command's is bound to. Raises `OSError`."""
        if self._before:
            checked(library.bind(self.socket.fileno(), self._before, len(self._before)))

    def _remember(self, raw: bytes) -> None:
        bound = Replacement._bound
        if len(bound) >= MAX_REMEMBERED:
            bound.pop(next(iter(bound)))
        if self.socket.family in {socket.AF_INET, socket.AF_INET6}:
            port = self.socket.getsockname()[1]
            raw = raw[:2] + port.to_bytes(2, "big") + raw[4:]
        bound[self.inode] = raw

    def attempt(self, target: bytes) -> int:
        """Connect, without waiting. Answers with the errno."""
        descriptor = self.socket.fileno()
        blocked = os.get_blocking(descriptor)
        if blocked:
            os.set_blocking(descriptor, False)
        try:
            checked(library.connect(descriptor, target, len(target)))
        except OSError as error:
            return error.errno or errno.EPERM
        finally:
            if blocked:
                os.set_blocking(descriptor, True)
        return 0

    def install(self) -> None:
        """Raises `OSError` where whoever called is gone."""
        if self._is_new:
            os.set_blocking(self.socket.fileno(), not self._flags & os.O_NONBLOCK)
            self._notice.put(self.socket.fileno(), self._number, close_on_exec=bool(self._flags & os.O_CLOEXEC))

    def close(self) -> None:
        self.socket.close()


def _inode(notice: Notice, number: int) -> int:
    try:
        found = _SOCKET.fullmatch(os.readlink(b"/proc/%d/fd/%d" % (notice.pid, number)))
    except FileNotFoundError:
        raise OSError(errno.EBADF, "") from None
    if found is None:
        raise OSError(errno.ENOTSOCK, "")
    return int(found[1])


def _flags(notice: Notice, number: int) -> int:
    """Of an open file, and of its descriptor: O_NONBLOCK, O_CLOEXEC. Raises `OSError`."""
    with open(f"/proc/{notice.pid}/fdinfo/{number}", "rb") as source:
        for line in source:
            if line.startswith(b"flags:"):
                return int(line.split()[1], 8)
    raise OSError(errno.EBADF, "")
