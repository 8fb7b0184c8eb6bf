"""Which ports are listened on inside, a way from a Unix socket to each of them, and the way out."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

from tests.emulators.daytona.machine.wire import Channel, Fields, Refusal

__all__ = ["FOLDER", "PORT_OPERATIONS", "PROXY_PORT", "let_out"]

PROXY_PORT = 3128
FOLDER = "/run/toolbox"  # bound to a folder of the service, for sockets
_CHUNK = 1 << 16
_CONNECT_S = 5.0
_LISTEN = "0A"


def _listening() -> list[int]:
    ports: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table, encoding="ascii") as rows:
            for row in list(rows)[1:]:
                _, local, _, state, *_ = row.split()
                if state == _LISTEN:
                    ports.add(int(local.rpartition(":")[2], 16))
    return sorted(ports)


def _list(_channel: Channel, _fields: Fields) -> object:
    # The daemon looks at these alone.
    return {"ports": [port for port in _listening() if 3000 <= port <= 9999 and port != PROXY_PORT]}


def _in_use(_channel: Channel, fields: Fields) -> object:
    return {"isInUse": fields.get("port") in _listening()}


_relays: dict[int, str] = {}
_lock = threading.Lock()


def _relay(_channel: Channel, fields: Fields) -> object:
    """The name of a socket in the bound folder that leads to this port, made at the first need."""
    port = fields.get("port")
    if not isinstance(port, int) or not 1 <= port <= 65535:
        raise Refusal(400, "invalid port", "BAD_REQUEST")
    with _lock:
        if port not in _relays:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.path.join(FOLDER, f"p{port}"))
            listener.listen(128)
            _relays[port] = f"p{port}"
            threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
    return {"socket": _relays[port]}


def let_out() -> None:
    """Listen inside for those who want to go out, and lead them to the service's proxy."""
    listener = socket.create_server(("127.0.0.1", PROXY_PORT))
    threading.Thread(target=_accept_out, args=(listener,), daemon=True).start()


def _accept_out(listener: socket.socket) -> None:
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_go_out, args=(near,), daemon=True).start()


def _go_out(near: socket.socket) -> None:
    far = socket.socket(socket.AF_UNIX)
    with near, far, suppress(OSError):
        far.connect(os.path.join(FOLDER, "egress"))
        _both_ways(near, far)


def _both_ways(near: socket.socket, far: socket.socket) -> None:
    back = threading.Thread(target=_pump, args=(far, near), daemon=True)
    back.start()
    _pump(near, far)
    back.join()


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_connect, args=(near, port), daemon=True).start()


def _connect(near: socket.socket, port: int) -> None:
    """Both ways until both ends are closed. Whoever finds nobody listening closes at once."""
    far: socket.socket | None = None
    for address in ("127.0.0.1", "::1"):
        with suppress(OSError):
            far = socket.create_connection((address, port), _CONNECT_S)
            break
    if far is None:
        near.close()
        return
    far.settimeout(None)
    with near, far:
        _both_ways(near, far)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


PORT_OPERATIONS = {"ports.list": _list, "ports.in_use": _in_use, "ports.relay": _relay}
