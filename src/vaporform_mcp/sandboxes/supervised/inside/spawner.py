"""The thread that starts commands: it is as confined as they are, so that all of them are of one domain."""

from __future__ import annotations

import _thread

__all__ = ["Spawner"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


class Spawner:
    """Does what the main thread, and only that, asks of it, one after the other."""

    def __init__(self) -> None:
        self._asked, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._asked.acquire()
        self._done.acquire()
        self._work: Callable[[], object] = _nothing
        self._failure: BaseException | None = None
        _thread.start_new_thread(self._serve, ())

    def do(self, work: Callable[[], T]) -> T:
        """What `work` answers, done on that thread; it raises what that raises."""
        answers: list[T] = []
        self._work = lambda: answers.append(work())
        self._asked.release()
        self._done.acquire()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return answers.pop()

    def _serve(self) -> None:
        while True:
            self._asked.acquire()
            try:
                self._work()
            except BaseException as error:  # noqa: BLE001  # it is raised where it was asked for
                self._failure = error
            self._work = _nothing
            self._done.release()


def _nothing() -> None:
    return
