"""Requests about a command that are answered later: when it has ended, printed, listens, or has had its time."""

from __future__ import annotations

import time

__all__ = ["Run", "Stop", "Wait"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from .loop import Loop, Timer
    from .process import Process
    from .request import Request

    C = TypeVar("C")

STREAM_BYTES_A_SECOND = 1024 * 1024
"""What comes faster is skipped: nobody reads along at such a speed, and it costs either side time."""

STREAM_UNSENT_BYTES = 256 * 1024
STOP_ANSWER_S = 2.5
PORT_POLL_S = 0.05
PORT_POLL_LATER_S = 0.2
PORT_POLLS_SOON = 40


class Run:
    """A `run`. `finish` is called once, when it is to be answered."""

    def __init__(self, loop: Loop, request: Request, process: Process, finish: Callable[[Run], None]) -> None:
        self.request = request
        self.process = process
        self._loop = loop
        self._finish = finish
        self._wait: Timer | None = None
        self._look: Timer | None = None
        self._open = True
        self._second = 0
        self._streamed = 0
        process.on_settled.append(self._answer)

    def answer_after(self, wait_s: float, *, confirmed: bool) -> None:
        """Answer after so long at the latest; `confirmed`, counted from when the command says that it has started."""
        if confirmed:
            self.process.on_start.append(lambda: self._wait_for(wait_s))
        else:
            self._wait_for(wait_s)

    def answer_at_port(self, ports: Callable[[], set[int]], before: set[int]) -> None:
        """Answer as soon as there is a port that was not there `before`."""
        self._look_for(ports, before, PORT_POLLS_SOON)

    def stream(self) -> None:
        """Send on what is printed until it is answered."""
        self.process.on_output.append(self._send)

    def let_go(self) -> None:
        """Never call `finish` any more."""
        self._open = False
        for timer in (self._wait, self._look):
            if timer is not None:
                timer.cancel()
        _remove(self.process.on_settled, self._answer)
        _remove(self.process.on_output, self._send)

    def _answer(self) -> None:
        if self._open:
            self.let_go()
            self._finish(self)

    def _wait_for(self, wait_s: float) -> None:
        if self._open:
            self._wait = self._loop.after(wait_s, self._answer)

    def _look_for(self, ports: Callable[[], set[int]], before: set[int], soon: int) -> None:
        delay_s = PORT_POLL_S if soon > 0 else PORT_POLL_LATER_S
        self._look = self._loop.after(delay_s, lambda: self._looked(ports, before, soon - 1))

    def _looked(self, ports: Callable[[], set[int]], before: set[int], soon: int) -> None:
        now = ports()
        if now - before:
            self._answer()
        else:
            # A port that was closed since, and is opened again, is new.
            self._look_for(ports, before & now, soon)

    def _send(self, data: bytes) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._streamed = second, 0
        self._streamed += len(data)
        if self._streamed <= STREAM_BYTES_A_SECOND and self.request.connection.unsent_bytes <= STREAM_UNSENT_BYTES:
            self.request.event("output", data)


class Wait:
    """A `wait`: answered when the process has ended, has printed beyond `offset`, or after `wait_s`."""

    def __init__(self, loop: Loop, request: Request, process: Process, wait_s: float, offset: int | None) -> None:
        self._request = request
        self._process = process
        self._offset = offset
        self._timer: Timer | None = None
        if process.settled or self._has_printed:
            self._answer()
            return
        self._timer = loop.after(wait_s, self._answer)
        process.on_settled.append(self._answer)
        if offset is not None:
            process.on_output.append(self._printed)

    @property
    def _has_printed(self) -> bool:
        return self._offset is not None and self._process.log.total > self._offset

    def _printed(self, _data: bytes) -> None:
        if self._has_printed:
            self._answer()

    def _answer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        _remove(self._process.on_settled, self._answer)
        _remove(self._process.on_output, self._printed)
        self._request.reply({"process": self._process.fields()})


class Stop:
    """A `stop`: answered when nothing is left of the process, or what is left cannot be killed."""

    def __init__(self, loop: Loop, request: Request, process: Process, grace_s: float) -> None:
        self._request = request
        self._process = process
        self._timer: Timer | None = None
        if process.gone:
            self._answer()
            return
        self._timer = loop.after(grace_s + STOP_ANSWER_S, self._answer)
        process.on_gone.append(self._answer)
        process.terminate(grace_s)

    def _answer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        _remove(self._process.on_gone, self._answer)
        self._request.reply({"process": self._process.fields()})


def _remove(callbacks: list[C], callback: C) -> None:
    if callback in callbacks:
        callbacks.remove(callback)
