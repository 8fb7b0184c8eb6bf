"""The one loop of the supervisor: descriptors, timers, and work for quiet moments."""

from __future__ import annotations

import heapq
import os
import select
import time
from collections import deque

__all__ = ["READ", "WRITE", "Loop", "Timer"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

TURN_S = 0.008
"""How long one piece of `in_turns` work may hold up the others."""

LONGEST_S = 3600.0
"""One wait of the kernel's; a timer may be much further off than that call accepts."""


class Timer:
    """A call to come. Cancelled, it holds on to nothing."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._number = 0
        self._quiet: list[Callable[[], None]] = []
        self._running = False
        self._bell = -1
        self._calls: deque[Callable[[], None]] = deque()

    def watch(self, descriptor: int, callback: Callable[[], None], events: int = READ) -> None:
        """Call `callback` whenever the descriptor is ready, or broken, until `unwatch`. Again: replaces what was."""
        known = descriptor in self._watched
        self._watched[descriptor] = callback
        if known:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Must come before the descriptor is closed: a forked child may still hold a copy, which would go on waking us.

        Safe to call twice.
        """
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call once, `delay_s` seconds from now. Those due together are called in the order of their times."""
        timer = Timer(callback)
        self._number += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._number, timer))
        return timer

    def accept_calls(self) -> None:
        """Let other threads call in, by `from_thread`."""
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.watch(self._bell, self._called)

    def from_thread(self, callback: Callable[[], None]) -> None:
        """Call once, soon, on the loop's thread. The one method that others may use, after `accept_calls`."""
        self._calls.append(callback)
        os.eventfd_write(self._bell, 1)

    def _called(self) -> None:
        os.eventfd_read(self._bell)
        while self._calls:
            self._calls.popleft()()

    def when_quiet(self, callback: Callable[[], None]) -> None:
        """Call once, as soon as nothing else is to be done."""
        self._quiet.append(callback)

    def in_turns(self, steps: Iterator[object], done: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        """Run `steps` to its end, then `done`, letting everything else have its turn in between.

        `failed` is called instead of the rest where a step raised.
        """
        until = time.monotonic() + TURN_S
        try:
            for _ in steps:
                if time.monotonic() >= until:
                    self.after(0, lambda: self.in_turns(steps, done, failed))
                    return
        except Exception as error:  # noqa: BLE001  # out of a later turn it would end everything
            failed(error)
            return
        done()

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Until `stop`, or until a callback raises."""
        self._running = True
        while self._running:
            events = self._epoll.poll(self._delay())
            if not events and self._quiet:
                quiet, self._quiet = self._quiet, []
                for callback in quiet:
                    callback()
            for descriptor, _ in events:
                # What an earlier callback of this round unwatched has nobody to be called any more.
                if (watcher := self._watched.get(descriptor)) is not None:
                    watcher()
            self._call_due()

    def _delay(self) -> float:
        if self._quiet:
            return 0
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        return min(max(0.0, timers[0][0] - time.monotonic()), LONGEST_S) if timers else -1

    def _call_due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()
