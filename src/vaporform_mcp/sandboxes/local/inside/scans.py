"""The `scan` request: a forked worker walks, the supervisor passes on what it finds."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import sys

from .faults import Refused
from .kernel import close_all_but, send_signal
from .scanning import REPLY, ScanOrder, scan
from .wire import HEADER

__all__ = ["Scans"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .commands import Commands
    from .connection import Connection
    from .loop import Loop
    from .request import Request
    from .root import Root

MAX_SCANS = 16
MAX_ROWS = 5_000_000
READ_BYTES = 256 * 1024
PIPE_BYTES = 1024 * 1024
PAUSE_BYTES = 4 * 1024 * 1024
"""With more than this not yet read by its server, a scan waits."""


class Scans:
    def __init__(self, loop: Loop, root: Root, commands: Commands) -> None:
        self._loop = loop
        self._root = root
        self._commands = commands
        self._running: set[_Scan] = set()

    def operations(self) -> dict[str, Callable[[Request], None]]:
        return {"scan": self._scan}

    def disconnected(self, connection: Connection) -> None:
        for running in [each for each in self._running if each.request.connection is connection]:
            running.end()

    def _scan(self, request: Request) -> None:
        self._root.require()
        if len(self._running) >= MAX_SCANS:
            raise Refused("limit", f"{MAX_SCANS} scans of the workspace run already", "Try again in a moment.")
        order = ScanOrder(
            request_id=request.number,
            under=request.text("under", ""),
            prune=frozenset(name.encode("utf-8", "replace") for name in request.texts("prune")),
            depth=request.optional_integer("depth"),
            limit=min(request.integer("limit", MAX_ROWS), MAX_ROWS),
        )
        try:
            pid, output = _fork_worker(self._root, order)
        except OSError:
            raise Refused("limit", "the machine cannot start another process", "Stop some that run.") from None
        running = _Scan(self._loop, request, pid, output, self._running.discard)
        self._running.add(running)
        self._commands.adopt(pid, running.worker_ended)


class _Scan:
    def __init__(self, loop: Loop, request: Request, pid: int, output: int, forget: Callable[[_Scan], None]) -> None:
        self.request = request
        self._loop = loop
        self._pid = pid
        self._output = output
        self._forget = forget
        self._buffer = bytearray()
        self._replied = False
        self._alive = True
        loop.watch(output, self._ready)

    def worker_ended(self) -> None:
        self._alive = False

    def end(self) -> None:
        """Safe to call twice."""
        if self._output < 0:
            return
        self._loop.unwatch(self._output)
        os.close(self._output)
        self._output = -1
        if self._alive:
            send_signal(self._pid, signal.SIGKILL)
        self._forget(self)

    def _ready(self) -> None:
        try:
            data = os.read(self._output, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            if not self._replied:
                self.request.refuse(Refused("sandbox_unavailable", "the scan was interrupted", "Repeat the call."))
            return
        self._buffer += data
        while self._pass_on():
            pass
        if self.request.connection.unsent_bytes > PAUSE_BYTES:
            self._loop.unwatch(self._output)
            self.request.connection.when_drained(self._resume)

    def _pass_on(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 1 + HEADER.size:
            return False
        end = 1 + HEADER.size + sum(HEADER.unpack_from(buffer, 1))
        if len(buffer) < end:
            return False
        self._replied = self._replied or buffer.startswith(REPLY)
        self.request.connection.send(bytes(buffer[1:end]))
        del buffer[:end]
        return True

    def _resume(self) -> None:
        if self._output >= 0:
            self._loop.watch(self._output, self._ready)


def _fork_worker(root: Root, order: ScanOrder) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(read_end)
        os.close(write_end)
        raise
    if pid == 0:
        try:
            _work(root, order, write_end)
        except BaseException as error:  # noqa: BLE001  # nothing of this process may go on as a second supervisor
            sys.excepthook(type(error), error, error.__traceback__)
            os._exit(1)
        finally:
            os._exit(0)
    os.close(write_end)
    os.set_blocking(read_end, False)
    return pid, read_end


def _work(root: Root, order: ScanOrder, output: int) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.disable()
    close_all_but({output, root.descriptor})
    _enlarge(output)

    def send(kind: bytes, frame: bytes) -> None:
        view = memoryview(kind + frame)
        while view:
            view = view[os.write(output, view) :]

    scan(root, order, send)


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return  # the user's share of pipe memory is used up; a smaller one does
