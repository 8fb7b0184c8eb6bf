"""The `scan` and `rescan` requests: a forked worker walks, the supervisor passes on what it finds."""

from __future__ import annotations

import fcntl
import gc
import itertools
import json
import os
import signal
import sys

from .faults import Refused
from .kernel import close_all_but, send_signal
from .scanning import REPLY, WATCHED, ScanOrder, rescan, scan
from .watching import Watch
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

    _Send = Callable[[bytes, bytes], None]

MAX_SCANS = 16
MAX_NAMED = 8
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
        self._watches: dict[Connection | str, Watch] = {}
        self._cursors = itertools.count(1)

    def operations(self) -> dict[str, Callable[[Request], None]]:
        return {"scan": self._scan, "rescan": self._rescan}

    def disconnected(self, connection: Connection) -> None:
        for running in [each for each in self._running if each.request.connection is connection]:
            running.end()
        self._take_watch(connection)

    def _scan(self, request: Request) -> None:
        self._require_room()
        order = ScanOrder(
            request_id=request.number,
            under=request.text("under", ""),
            prune=frozenset(name.encode("utf-8", "replace") for name in request.texts("prune")),
            depth=request.optional_integer("depth"),
            limit=min(request.integer("limit", MAX_ROWS), MAX_ROWS),
        )
        is_whole = not order.under and order.depth is None
        watch = self._new_watch(_watcher(request), order.prune) if is_whole and request.flag("watch") else None
        self._start(request, watch, lambda send: scan(self._root, order, watch, send))

    def _rescan(self, request: Request) -> None:
        self._require_room()
        watch = self._watches.get(_watcher(request))
        if watch is None or watch.cursor != request.integer("cursor"):
            request.reply({"cursor": None})
            return
        # Away while the worker has it: nobody else reads it meanwhile, and if the worker fails it is not believed.
        del self._watches[_watcher(request)]
        watch.cursor = next(self._cursors)
        self._start(request, watch, lambda send: rescan(self._root, request.number, watch, send))

    def _require_room(self) -> None:
        self._root.require()
        if len(self._running) >= MAX_SCANS:
            raise Refused("limit", f"{MAX_SCANS} scans of the workspace run already", "Try again in a moment.")

    def _new_watch(self, watcher: Connection | str, prune: frozenset[bytes]) -> Watch | None:
        self._take_watch(watcher)
        try:
            watch = Watch(prune)
        except OSError:
            return None  # other programs of the user's watch as much as is allowed
        watch.cursor = next(self._cursors)
        return watch

    def _take_watch(self, watcher: Connection | str) -> None:
        watch = self._watches.pop(watcher, None)
        if watch is not None:
            watch.close()

    def _start(self, request: Request, watch: Watch | None, work: Callable[[_Send], None]) -> None:
        try:
            pid, output = _fork_worker(self._root, watch, work)
        except OSError:
            if watch is not None:
                watch.close()
            raise Refused("limit", "the machine cannot start another process", "Stop some that run.") from None
        running = _Scan(self._loop, request, pid, output, watch, self)
        self._running.add(running)
        self._commands.adopt(pid, running.worker_ended)

    def keep_watch(self, watcher: Connection | str, watch: Watch) -> None:
        self._take_watch(watcher)
        self._watches[watcher] = watch
        named = [each for each in self._watches if isinstance(each, str)]
        for each in named[:-MAX_NAMED]:
            self._take_watch(each)

    def forget(self, running: _Scan) -> None:
        self._running.discard(running)


class _Scan:
    """`watch` is believed again, and kept, once the worker has told what became of it."""

    def __init__(
        self,
        loop: Loop,
        request: Request,
        pid: int,
        output: int,
        watch: Watch | None,
        scans: Scans,
    ) -> None:
        self.request = request
        self._watch = watch
        self._loop = loop
        self._pid = pid
        self._output = output
        self._scans = scans
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
        if self._watch is not None:
            self._watch.close()
        self._scans.forget(self)

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
        frame = bytes(buffer[1:end])
        if buffer.startswith(WATCHED):
            self._heed(json.loads(frame[HEADER.size :]))
        else:
            if buffer.startswith(REPLY):
                self._replied = True
            self.request.connection.send(frame)
        del buffer[:end]
        return True

    def _heed(self, report: dict[str, list[object]]) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        watcher = _watcher(self.request)
        if watcher is self.request.connection and self.request.connection.closed:
            watch.close()
        else:
            watch.heed(report)
            self._scans.keep_watch(watcher, watch)

    def _resume(self) -> None:
        if self._output >= 0:
            self._loop.watch(self._output, self._ready)


def _watcher(request: Request) -> Connection | str:
    """Whose the watch is: the connection's, or that of whoever goes by a name and has many."""
    return request.text("watcher", "") or request.connection


def _fork_worker(root: Root, watch: Watch | None, work: Callable[[_Send], None]) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(read_end)
        os.close(write_end)
        raise
    if pid == 0:
        try:
            _work(root, watch, work, write_end)
        except BaseException as error:  # noqa: BLE001  # nothing of this process may go on as a second supervisor
            sys.excepthook(type(error), error, error.__traceback__)
            os._exit(1)
        finally:
            os._exit(0)
    os.close(write_end)
    os.set_blocking(read_end, False)
    return pid, read_end


def _work(root: Root, watch: Watch | None, work: Callable[[_Send], None], output: int) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.disable()
    close_all_but({output, root.descriptor} | ({watch.descriptor} if watch is not None else set()))
    _enlarge(output)

    def send(kind: bytes, frame: bytes) -> None:
        view = memoryview(kind + frame)
        while view:
            view = view[os.write(output, view) :]

    work(send)


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return  # the user's share of pipe memory is used up; a smaller one does
