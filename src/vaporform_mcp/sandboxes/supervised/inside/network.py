"""The requests about the network: ports, connect, listen."""

from __future__ import annotations

import errno
import socket

from .faults import Refused, refusal
from .loop import READ, WRITE
from .ports import PortTable

__all__ = ["Network"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .confinement import Confinement
    from .connection import Connection
    from .loop import Loop, Timer
    from .request import Request

CONNECT_S = 2.0
BACKLOG = 256
MAX_LISTENERS = 64
FAREWELL_S = 2.0
PAUSE_S = 0.1
MAX_FAREWELLS = 64

_HOSTS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_KINDS = {"egress", "forward"}
_NO_SERVER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 65\r\n\r\n"
    b"No server is attached to this sandbox: it has no network for now."
)


class Network:
    def __init__(self, loop: Loop, confinement: Confinement | None, not_ours: frozenset[int]) -> None:
        self._loop = loop
        self._not_ours = not_ours
        self._listeners: dict[int, _Listener] = {}
        self._table = PortTable()
        self._confinement = confinement

    def operations(self) -> dict[str, Callable[[Request], None]]:
        return {"ports": self._ports, "connect": self._connect, "listen": self._listen}

    def disconnected(self, connection: Connection) -> None:
        for listener in self._listeners.values():
            listener.release(connection)

    def ports(self) -> set[int]:
        """Ports that commands listen on."""
        if self._confinement is not None:
            return self._confinement.own.ports(self._table)
        return self._table.listening() - self._listeners.keys() - self._not_ours

    def _ports(self, request: Request) -> None:
        request.reply({"ports": sorted(self.ports())})

    def _connect(self, request: Request) -> None:
        port = _port(request)
        if self._confinement is not None and not self._confinement.own.has(self._table, port):
            raise Refused(
                "not_found",
                f"port {port} of this computer is not one that this sandbox serves at",
                "Start a server there first; where another program has the port, use another.",
            )
        _Connect(self._loop, request, port)

    def _listen(self, request: Request) -> None:
        port, kind = _port(request), request.text("kind")
        if kind not in _KINDS:
            raise Refused("invalid_argument", "a listener's kind is egress or forward")
        listener = self._listeners.get(port)
        if listener is None:
            if len(self._listeners) >= MAX_LISTENERS:
                raise Refused("limit", f"{MAX_LISTENERS} ports are listened on already")
            try:
                listener = self._listeners[port] = self._open(port, kind)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise Refused("conflict", f"port {port} is in use in the sandbox", "Choose another.") from None
                raise refusal(error, f"port {port}") from None
        listener.lend(request.connection)
        request.reply({}, descriptors=[listener.descriptor])

    def _open(self, port: int, kind: str) -> _Listener:
        answers = kind == "egress"
        if self._confinement is None:
            return _Listener(self._loop, _listening(port), answers=answers)
        if kind == "egress":
            # Made by whoever started us: here the port is one of the computer's, and not the same in every sandbox.
            if self._confinement.egress is None:
                raise Refused("not_supported", "the sandbox has no network")
            return _Listener(self._loop, self._confinement.egress, answers=answers)
        made = _listening(port)
        self._confinement.own.lend(made.fileno())
        return _Listener(self._loop, made, answers=answers)


class _Listener:
    """A listening socket that is lent to servers; while nobody has it, whoever connects is told so."""

    def __init__(self, loop: Loop, listening: socket.socket, *, answers: bool) -> None:
        self._loop = loop
        self._answers = answers
        self._holders: set[Connection] = set()
        self._farewells = 0
        self._socket = listening
        listening.setblocking(False)

    @property
    def descriptor(self) -> int:
        return self._socket.fileno()

    def lend(self, connection: Connection) -> None:
        self._holders.add(connection)
        self._loop.unwatch(self.descriptor)

    def release(self, connection: Connection) -> None:
        if connection in self._holders:
            self._holders.discard(connection)
            self._watch()

    def _watch(self) -> None:
        if not self._holders:
            self._loop.watch(self.descriptor, self._accept)

    def _accept(self) -> None:
        try:
            accepted, _ = self._socket.accept()
        except BlockingIOError:
            return
        except OSError:
            # No descriptors left, most likely: looking again at once would only burn the processor.
            self._loop.unwatch(self.descriptor)
            self._loop.after(PAUSE_S, self._watch)
            return
        if not self._answers or self._farewells >= MAX_FAREWELLS:
            accepted.close()
            return
        accepted.setblocking(False)
        try:
            accepted.send(_NO_SERVER)
            accepted.shutdown(socket.SHUT_WR)
        except OSError:
            accepted.close()
            return
        self._farewells += 1
        _Farewell(self._loop, accepted, self._said_farewell)

    def _said_farewell(self) -> None:
        self._farewells -= 1


class _Farewell:
    """Reads what the other side still says: closed with that unread, it would lose our answer to a reset."""

    def __init__(self, loop: Loop, accepted: socket.socket, done: Callable[[], None]) -> None:
        self._loop = loop
        self._socket = accepted
        self._done = done
        self._timer = loop.after(FAREWELL_S, self._end)
        loop.watch(accepted.fileno(), self._read)

    def _read(self) -> None:
        try:
            more = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            self._end()

    def _end(self) -> None:
        if self._socket.fileno() >= 0:
            self._timer.cancel()
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._done()


class _Connect:
    """One `connect`: by IPv4, then by IPv6."""

    def __init__(self, loop: Loop, request: Request, port: int) -> None:
        self._loop = loop
        self._request = request
        self._port = port
        self._hosts = list(_HOSTS)
        self._socket: socket.socket | None = None
        self._timer: Timer = loop.after(CONNECT_S, self._give_up)
        self._try_next()

    def _try_next(self) -> None:
        while self._hosts:
            family, host = self._hosts.pop(0)
            try:
                trying = socket.socket(family, socket.SOCK_STREAM)
            except OSError:
                continue
            trying.setblocking(False)
            number = trying.connect_ex((host, self._port))
            if number == 0:
                self._answer(trying)
                return
            if number == errno.EINPROGRESS:
                self._socket = trying
                self._loop.watch(trying.fileno(), self._ready, READ | WRITE)
                return
            trying.close()
        self._give_up()

    def _ready(self) -> None:
        trying, self._socket = self._socket, None
        if trying is None:
            return
        self._loop.unwatch(trying.fileno())
        if trying.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            self._answer(trying)
        else:
            trying.close()
            self._try_next()

    def _answer(self, connected: socket.socket) -> None:
        self._timer.cancel()
        with connected:
            self._request.reply({}, descriptors=[connected.fileno()])

    def _give_up(self) -> None:
        self._timer.cancel()
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._request.refuse(
            Refused("not_found", f"nothing accepts connections on port {self._port}", "Start a server there first.")
        )


def _listening(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _port(request: Request) -> int:
    port = request.integer("port")
    if not 0 < port < 65536:
        raise Refused("invalid_argument", f"{port} is not a port", "Give a number from 1 to 65535.")
    return port
