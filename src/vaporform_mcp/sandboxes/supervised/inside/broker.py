"""The threads that answer what the kernel asks about commands' system calls."""

from __future__ import annotations

import _thread
import errno
import os
import sys

from .attributes import Attributes
from .calls import numbers
from .notices import receive

__all__ = ["Broker"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .notices import Notice
    from .places import Places
    from .processes import Processes
    from .sockets import Sockets

THREADS = 4


class Broker:
    def __init__(self, places: Places, sockets: Sockets, processes: Processes) -> None:
        named: dict[str, Callable[[Notice], int | None]] = {
            **Attributes(places).operations(),
            **processes.operations(),
            "connect": sockets.connect,
            "bind": sockets.bind,
            "listen": sockets.listen,
        }
        self._begin = sockets.begin
        of = numbers(os.uname().machine)
        self._operations = {of[name]: operation for name, operation in named.items() if name in of}

    def serve(self, listener: int) -> None:
        """Answer what comes by `listener` from now on, on threads of its own."""
        for _ in range(THREADS):
            _thread.start_new_thread(self._serve, (listener,))

    def _serve(self, listener: int) -> None:
        self._begin()
        while True:
            try:
                notice = receive(listener)
            except OSError as error:
                if error.errno in {errno.EINTR, errno.ENOENT}:
                    continue  # whoever called was killed before
                return
            self._decide(notice)

    def _decide(self, notice: Notice) -> None:
        try:
            answer = self._operations[notice.call](notice)
        except OSError as error:
            answer = -(error.errno or errno.EPERM)
        except Exception as error:  # noqa: BLE001  # nobody may be left without an answer
            sys.excepthook(type(error), error, error.__traceback__)
            answer = -errno.EPERM
        if answer is not None:
            notice.answer(answer)
