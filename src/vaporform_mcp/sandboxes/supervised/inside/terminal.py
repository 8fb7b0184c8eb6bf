"""A terminal of a command's own: made and sized by the supervisor, controlled by the command's session."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios

from .faults import Refused

__all__ = ["MAX_CELLS", "Terminal", "spawn"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_CELLS = 1_000
"""Columns, and rows, of the largest."""

END_OF_INPUT = b"\x04"
"""What ends a program's input where its terminal passes on lines, as Ctrl-D does."""

_ERRNO = struct.Struct("=i")


class Terminal:
    """Both ends of one. `far` is the command's, which we must not hold on to: only then is it known when all of the
    command has let go of it.
    """

    __slots__ = ("columns", "far", "near", "rows")

    def __init__(self, columns: int, rows: int) -> None:
        """Raises `Refused` where none is to be had."""
        _check(columns, rows)
        try:
            self.near, self.far = os.openpty()
        except OSError:
            raise Refused(
                "not_supported",
                "this sandbox can have no further terminal",
                "Stop processes that have one, or run the command without one.",
            ) from None
        os.set_blocking(self.near, False)
        self.columns, self.rows = columns, rows
        self._set_size()

    def resize(self, columns: int, rows: int) -> None:
        """The kernel tells the programs in the foreground."""
        _check(columns, rows)
        self.columns, self.rows = columns, rows
        self._set_size()

    def let_go(self) -> None:
        """Close the command's end, which it has inherited by now; safe to call twice."""
        if self.far >= 0:
            os.close(self.far)
            self.far = -1

    def _set_size(self) -> None:
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("4H", self.rows, self.columns, 0, 0))


def spawn(program: str, arguments: list[str], env: Mapping[str, str], far: int, defaults: Collection[int]) -> int:
    """Start a session that `far` controls; the signals `defaults` are as in a new process. Raises `OSError`.

    Not by `posix_spawn`: a session takes a terminal by a call for which that has no word, or by opening it by its name,
    which not every sandbox may.
    """
    failed, fails = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            fcntl.ioctl(far, termios.TIOCSCTTY, 0)
            for target in range(3):
                os.dup2(far, target)
            for number in defaults:
                signal.signal(number, signal.SIG_DFL)
            os.execve(program, arguments, env)  # noqa: S606  # the shell that commands run in
        except OSError as error:
            os.write(fails, _ERRNO.pack(error.errno or 0))
        finally:
            os._exit(127)
    os.close(fails)
    with os.fdopen(failed, "rb") as told:
        said = told.read(_ERRNO.size)
    if said:
        os.waitpid(pid, 0)
        raise OSError(_ERRNO.unpack(said)[0], "")
    return pid


def _check(columns: int, rows: int) -> None:
    if not (0 < columns <= MAX_CELLS and 0 < rows <= MAX_CELLS):
        raise Refused("invalid_argument", f"a terminal of {columns}x{rows}", f"Each is from 1 to {MAX_CELLS}.")
