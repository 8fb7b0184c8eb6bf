"""Commands that wait for a connection to be made: the loop waits with them, without a thread for each."""

from __future__ import annotations

import errno
import socket
import time

from .loop import WRITE

__all__ = ["Wait"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Loop
    from .notices import Notice
    from .replacing import Replacement

LONGEST_S = 130.0
"""As long as the kernel itself tries."""

LOOK_S = 0.25
"""How soon it is noticed that nobody waits any more; a full queue is tried again sooner."""

RETRY_S = 0.02
MAX_WAITS = 256


class Wait:
    """Answers when the socket is connected. `done` is called then, whatever came of it."""

    _count = 0

    def __init__(
        self, loop: Loop, notice: Notice, theirs: Replacement, target: bytes, done: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._notice = notice
        self._theirs = theirs
        self._target = target
        self._done = done
        self._ended = False
        self._until = time.monotonic() + LONGEST_S

    @classmethod
    def begin(cls, loop: Loop, notice: Notice, theirs: Replacement, target: bytes, done: Callable[[], None]) -> None:
        """From any thread. `target` is where a socket of files, whose queue is full, tries again."""
        loop.from_thread(cls(loop, notice, theirs, target, done)._begin)

    def _begin(self) -> None:
        Wait._count += 1
        if Wait._count > MAX_WAITS:
            self._end(errno.EAGAIN)
        elif self._theirs.socket.family == socket.AF_UNIX:
            self._try()
        else:
            self._loop.watch(self._theirs.socket.fileno(), self._ready, WRITE)
            self._look()

    def _ready(self) -> None:
        self._end(self._theirs.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    @property
    def _is_vain(self) -> bool:
        return time.monotonic() > self._until or not self._notice.is_valid

    def _look(self) -> None:
        if self._is_vain:
            self._end(errno.ETIMEDOUT)
        elif not self._ended:
            self._loop.after(LOOK_S, self._look)

    def _try(self) -> None:
        number = self._theirs.attempt(self._target)
        if number != errno.EAGAIN or self._is_vain:
            self._end(number)
        else:
            self._loop.after(RETRY_S, self._try)

    def _end(self, number: int) -> None:
        if self._ended:
            return
        self._ended = True
        Wait._count -= 1
        self._loop.unwatch(self._theirs.socket.fileno())
        try:
            if number == 0:
                self._theirs.install()
        except OSError as error:
            number = error.errno or errno.EPERM
        self._done()
        self._notice.answer(-number)
