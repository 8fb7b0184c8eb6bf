"""Terminals: shells with a terminal of their own, which several connections may share."""

from __future__ import annotations

import fcntl
import os
import pty
import queue
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.emulators.daytona.machine.commands import environment, shell
from tests.emulators.daytona.machine.wire import DATA, END, Channel, Fields, Refusal, is_fields

__all__ = ["TERMINAL_OPERATIONS"]

_CHUNK = 1 << 14
_QUEUE = 256  # chunks; a connection that reads more slowly is dropped
_KILLED_S = 5.0


class _Terminal:
    """What was printed before a connection came is not shown to it."""

    def __init__(self, name: str, fields: Fields) -> None:
        self.name = name
        self.cols, self.rows = _size(fields, 80, 24)
        self.cwd = os.path.join(os.getcwd(), str(fields.get("cwd") or ""))
        envs = fields.get("envs")
        self.envs: Fields = envs if is_fields(envs) else {}
        self.created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.exit_code: int | None = None
        self._listeners: list[queue.Queue[bytes | None]] = []
        self._lock = threading.Lock()
        self._master, slave = pty.openpty()
        self._resize()
        env = {**environment(fields), "TERM": "xterm-256color"}
        try:
            self._process = subprocess.Popen(
                [shell(), "-i"],
                cwd=self.cwd,
                env=env,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        except OSError as error:
            os.close(self._master)
            raise Refusal(400, f"failed to start: {(error.strerror or '').lower()}", "BAD_REQUEST") from error
        finally:
            os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def listen(self) -> queue.Queue[bytes | None]:
        listener: queue.Queue[bytes | None] = queue.Queue(_QUEUE)
        with self._lock:
            if self.exit_code is not None:
                listener.put(None)
            else:
                self._listeners.append(listener)
        return listener

    def leave(self, listener: queue.Queue[bytes | None]) -> None:
        with self._lock, suppress(ValueError):
            self._listeners.remove(listener)

    def _read(self) -> None:
        # A terminal whose last process has ended fails to be read.
        with suppress(OSError):
            while chunk := os.read(self._master, _CHUNK):
                self._tell(chunk)
        status = self._process.wait()
        self.exit_code = status if status >= 0 else 128 - status
        with self._lock:
            for listener in self._listeners:
                with suppress(queue.Full):
                    listener.put_nowait(None)
            os.close(self._master)

    def _tell(self, chunk: bytes) -> None:
        with self._lock:
            for listener in list(self._listeners):
                try:
                    listener.put_nowait(chunk)
                except queue.Full:
                    self._listeners.remove(listener)

    def write(self, data: bytes) -> None:
        with suppress(OSError):
            os.write(self._master, data)

    def resize(self, fields: Fields) -> None:
        self.cols, self.rows = _size(fields, self.cols, self.rows)
        self._resize()

    def _resize(self) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.cols, 0, 0))

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILLED_S)

    def show(self) -> Fields:
        return {
            "id": self.name,
            "active": self.exit_code is None,
            "cols": self.cols,
            "rows": self.rows,
            "cwd": self.cwd,
            "envs": self.envs,
            "createdAt": self.created,
            "lazyStart": False,
        }


def _size(fields: Fields, cols: int, rows: int) -> tuple[int, int]:
    found = [fields.get("cols") or cols, fields.get("rows") or rows]
    try:
        width, height = (int(str(each)) for each in found)
    except ValueError:
        raise Refusal(400, "invalid size", "BAD_REQUEST") from None
    if not (1 <= width <= 1000 and 1 <= height <= 1000):
        raise Refusal(400, "invalid size", "BAD_REQUEST")
    return width, height


_terminals: dict[str, _Terminal] = {}
_lock = threading.Lock()


def _find(fields: Fields) -> _Terminal:
    name = str(fields.get("terminal"))
    if name not in _terminals:
        raise Refusal(404, "PTY session not found", "NOT_FOUND")
    return _terminals[name]


def _create(_channel: Channel, fields: Fields) -> object:
    name = fields.get("id")
    if not isinstance(name, str) or not name:
        raise Refusal(400, "PTY session ID is required", "BAD_REQUEST")
    with _lock:
        if name in _terminals and _terminals[name].exit_code is None:
            raise Refusal(409, f"PTY session with ID {name} already exists", "CONFLICT")
        _terminals[name] = _Terminal(name, fields)
    return {"sessionId": name}


def _list(_channel: Channel, _fields: Fields) -> object:
    return {"sessions": [each.show() for each in list(_terminals.values())]}


def _show(_channel: Channel, fields: Fields) -> object:
    return _find(fields).show()


def _resize(_channel: Channel, fields: Fields) -> object:
    terminal = _find(fields)
    terminal.resize(fields)
    return terminal.show()


def _delete(_channel: Channel, fields: Fields) -> object:
    terminal = _find(fields)
    terminal.kill()
    del _terminals[terminal.name]
    return {}


def _connect(channel: Channel, fields: Fields) -> object:
    """Both ways until the shell ends. An empty chunk of contents says that it has begun."""
    terminal = _find(fields)
    if terminal.exit_code is not None:
        raise Refusal(410, "PTY session has ended", "SESSION_ENDED")
    listener = terminal.listen()
    threading.Thread(target=_take_input, args=(channel, terminal), daemon=True).start()
    try:
        channel.send(END)
        while (chunk := listener.get()) is not None:
            channel.send(DATA, chunk)
    finally:
        terminal.leave(listener)
    return {"exitCode": terminal.exit_code}


def _take_input(channel: Channel, terminal: _Terminal) -> None:
    with suppress(OSError, ValueError):
        while (got := channel.receive()) is not None:
            terminal.write(got[1])


TERMINAL_OPERATIONS: dict[str, Callable[[Channel, Fields], object]] = {
    "terminals.connect": _connect,
    "terminals.create": _create,
    "terminals.delete": _delete,
    "terminals.list": _list,
    "terminals.resize": _resize,
    "terminals.show": _show,
}
