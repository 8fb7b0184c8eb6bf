"""The requests dial, exchange and hang_up: connections to ports, for servers that no descriptor can be handed to."""

from __future__ import annotations

import itertools
import socket

from .faults import Refused
from .loop import READ, WRITE

__all__ = ["Tunnels"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection
    from .loop import Loop, Timer
    from .request import Request

CONNECT_S = 0.5
IDLE_S = 120.0
READ_BYTES = 256 * 1024
UNSENT_BYTES = 4 * 1024 * 1024
MAX_TUNNELS = 64

_HOSTS = ("127.0.0.1", "::1")


class Tunnels:
    """No connection of a server's holds them: one that nobody asks for within `IDLE_S` is closed."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._numbers = itertools.count(1)
        self._open: dict[int, _Tunnel] = {}

    def operations(self) -> dict[str, Callable[[Request], None]]:
        return {"dial": self._dial, "exchange": self._exchange, "hang_up": self._hang_up}

    def disconnected(self, connection: Connection) -> None:
        for tunnel in self._open.values():
            tunnel.disconnected(connection)

    def _dial(self, request: Request) -> None:
        if len(self._open) >= MAX_TUNNELS:
            raise Refused("limit", f"{MAX_TUNNELS} connections to ports are open", "Close some of them.")
        port = request.integer("port")
        made = _connected(port)
        if made is None:
            raise Refused("not_found", f"nothing listens on port {port}", "Start a server there first.")
        number = next(self._numbers)
        self._open[number] = _Tunnel(self._loop, made, lambda: self._open.pop(number, None))
        request.reply({"tunnel": number})

    def _exchange(self, request: Request) -> None:
        tunnel = self._open.get(request.integer("tunnel"))
        if tunnel is None:
            raise Refused("not_found", "the connection is closed", "Connect again.")
        tunnel.exchange(request)

    def _hang_up(self, request: Request) -> None:
        if (tunnel := self._open.get(request.integer("tunnel"))) is not None:
            tunnel.close()
        request.reply({})


class _Tunnel:
    """`forget` is called once, when it is closed. One request at a time may wait for bytes."""

    def __init__(self, loop: Loop, sock: socket.socket, forget: Callable[[], object]) -> None:
        self._loop = loop
        self._socket = sock
        self._forget = forget
        self._unsent = bytearray()
        self._waiting: Request | None = None
        self._timer: Timer | None = None
        self._ends = False
        sock.setblocking(False)
        self._idle = loop.after(IDLE_S, self.close)

    def exchange(self, request: Request) -> None:
        """Send what comes with it; answer with what has come from there, once there is any or `wait_s` has passed."""
        self._answer(b"", end=False)
        if len(self._unsent) + len(request.data) > UNSENT_BYTES:
            raise Refused("limit", "the server in the sandbox does not read what is sent", "Wait until it does.")
        self._idle.cancel()
        self._unsent += request.data
        self._ends = self._ends or request.flag("eof")
        self._waiting = request
        self._timer = self._loop.after(request.seconds("wait_s") or 0.0, lambda: self._answer(b"", end=False))
        self._watch()

    def disconnected(self, connection: Connection) -> None:
        if self._waiting is not None and self._waiting.connection is connection:
            self._answer(b"", end=False)  # for whoever asks again

    def close(self) -> None:
        self._answer(b"", end=True)
        self._idle.cancel()
        if self._socket.fileno() >= 0:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
        self._forget()

    def _watch(self) -> None:
        events = (READ if self._waiting is not None else 0) | (WRITE if self._unsent or self._ends else 0)
        if events:
            self._loop.watch(self._socket.fileno(), self._ready, events)
        else:
            self._loop.unwatch(self._socket.fileno())

    def _ready(self) -> None:
        try:
            self._send()
            data = self._socket.recv(READ_BYTES) if self._waiting is not None else None
        except BlockingIOError:
            self._watch()
            return
        except OSError:
            data = b""
        if data == b"":
            self.close()
            return
        if data:
            self._answer(data, end=False)
        self._watch()

    def _send(self) -> None:
        while self._unsent:
            del self._unsent[: self._socket.send(self._unsent)]
        if self._ends:
            self._ends = False
            self._socket.shutdown(socket.SHUT_WR)

    def _answer(self, data: bytes, *, end: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        request, self._waiting = self._waiting, None
        if request is not None:
            request.reply({"end": end}, data)
        self._idle.cancel()
        self._idle = self._loop.after(IDLE_S, self.close)


def _connected(port: int) -> socket.socket | None:
    for host in _HOSTS:
        try:
            return socket.create_connection((host, port), CONNECT_S)
        except (OSError, OverflowError):
            continue
    return None
