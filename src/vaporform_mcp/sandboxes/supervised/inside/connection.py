"""One attached server: its frames in, and ours out."""

from __future__ import annotations

import array
import json
import os
import socket
from collections import deque

from .loop import READ, WRITE
from .request import Request
from .wire import HEADER, MAX_FRAME_BYTES, MAX_JSON_BYTES

__all__ = ["Connection"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .loop import Loop

READ_BYTES = 256 * 1024
FRAMES_A_TURN = 16

HIGH_WATER_BYTES = 8 * 1024 * 1024
"""With more than this still to be sent, a connection's requests are left unread: its server must read first."""


class Connection:
    """`on_request` gets each request, `on_close` is called once, whoever ends it."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_request: Callable[[Request], None],
        on_close: Callable[[Connection], None],
    ) -> None:
        self.closed = False
        self._loop = loop
        self._socket = sock
        self._on_request = on_request
        self._on_close = on_close
        self._inbox = bytearray()
        self._outbox: deque[tuple[memoryview, list[int]]] = deque()
        self._unsent = 0
        self._on_drained: list[Callable[[], None]] = []
        self._interest = READ
        self._again = False
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready)

    @property
    def unsent_bytes(self) -> int:
        return self._unsent

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call once when everything has been sent, or when the connection ends."""
        self._on_drained.append(callback)
        if not self._outbox:
            self._loop.after(0, self._drained)

    def send(self, frame: bytes, descriptors: Sequence[int] = ()) -> None:
        """Queue a frame. The descriptors are copied, the caller may close its own; `OSError` where they cannot be."""
        if self.closed:
            return
        self._outbox.append((memoryview(frame), [os.dup(each) for each in descriptors]))
        self._unsent += len(frame)
        if len(self._outbox) == 1:
            self._flush()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        for _, descriptors in self._outbox:
            _close_all(descriptors)
        self._outbox.clear()
        self._inbox.clear()
        self._unsent = 0
        self._on_close(self)
        self._drained()

    def _ready(self) -> None:
        if self._outbox:
            self._flush()
        if not self.closed and self._is_open_to_more:
            self._receive()
        self._set_interest()

    @property
    def _is_open_to_more(self) -> bool:
        return self._unsent < HIGH_WATER_BYTES and len(self._inbox) <= MAX_FRAME_BYTES + HEADER.size

    def _set_interest(self) -> None:
        events = (READ if self._is_open_to_more else 0) | (WRITE if self._outbox else 0)
        if not self.closed and events != self._interest:
            self._interest = events
            self._loop.watch(self._socket.fileno(), self._ready, events)

    def _receive(self) -> None:
        try:
            received = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.close()
            return
        self._inbox += received
        self._take_frames()

    def _take_frames(self) -> None:
        for _ in range(FRAMES_A_TURN):
            if self.closed or self._unsent >= HIGH_WATER_BYTES or not self._take_frame():
                break
        else:
            # More may be here, of which the socket will not tell; the others get their turn first.
            self._take_frames_later()
        self._set_interest()

    def _take_frames_later(self) -> None:
        if not self._again:
            self._again = True
            self._loop.after(0, self._take_frames_again)

    def _take_frames_again(self) -> None:
        self._again = False
        self._take_frames()

    def _take_frame(self) -> bool:
        inbox = self._inbox
        if len(inbox) < HEADER.size:
            return False
        json_size, data_size = HEADER.unpack_from(inbox)
        if json_size > MAX_JSON_BYTES or json_size + data_size > MAX_FRAME_BYTES:
            self.close()
            return False
        middle = HEADER.size + json_size
        end = middle + data_size
        if len(inbox) < end:
            return False
        with memoryview(inbox) as view:
            encoded, data = bytes(view[HEADER.size : middle]), bytes(view[middle:end])
        del inbox[:end]
        try:
            request = Request(self, json.loads(encoded), data)
        except (ValueError, TypeError, RecursionError):
            self.close()
            return False
        self._on_request(request)
        return True

    def _flush(self) -> None:
        outbox = self._outbox
        try:
            while outbox:
                frame, descriptors = outbox[0]
                sent = self._send(frame, descriptors)
                if descriptors:
                    _close_all(descriptors)
                    descriptors.clear()
                self._unsent -= sent
                if sent == len(frame):
                    outbox.popleft()
                else:
                    outbox[0] = (frame[sent:], descriptors)
        except BlockingIOError:
            pass
        except OSError:
            # Not now: whoever is sending does not expect the connection to end under its hands.
            self._loop.after(0, self.close)
            return
        self._set_interest()
        if not outbox and self._on_drained:
            self._loop.after(0, self._drained)
        if self._inbox and self._unsent < HIGH_WATER_BYTES:
            self._take_frames_later()

    def _send(self, frame: memoryview, descriptors: list[int]) -> int:
        if not descriptors:
            return self._socket.send(frame)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        return self._socket.sendmsg([frame], [rights])

    def _drained(self) -> None:
        callbacks, self._on_drained = self._on_drained, []
        for callback in callbacks:
            callback()


def _close_all(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)
