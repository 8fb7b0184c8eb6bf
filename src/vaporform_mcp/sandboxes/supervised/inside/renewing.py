"""A supervisor of other code than the hand's: used as long as it is understood, and replaced once nobody needs it.

Each code that was replaced is noted, so that of two servers of different versions the older one uses what the newer one
started, instead of the two replacing each other's.
"""

from __future__ import annotations

import time

from .frames import encode_frame
from .receiving import Failed, receive
from .wire import PROTOCOL

__all__ = ["end", "is_due", "replace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

RETIRED = "retired"
KEPT_S = 600.0
"""The log of what ended so lately may still be asked for; it would go with its supervisor."""

END_S = 10.0


def is_due(connection: socket.socket, protocol: object, running: str, ours: str, *, asked: bool) -> bool:
    """Whether to replace the supervisor, whose code is `running`. Where both understand each other, that is done when
    it is `asked` for, and only while it has nothing that anybody could miss.

    Raises `Failed` where it cannot be used and must not be replaced.
    """
    if running == ours:
        return False
    if ours in _retired():
        if protocol != PROTOCOL:
            raise Failed("it is of a later version of this server, which another server uses: let both be that version")
        return False
    return protocol != PROTOCOL or (asked and _is_idle(connection))


def replace(connection: socket.socket, running: str) -> None:
    """End the supervisor, with all that it runs, for good."""
    with open(RETIRED, "a") as target:
        target.write(f"{running}\n")
    end(connection)


def end(connection: socket.socket) -> None:
    """Have the supervisor end, and see it do so."""
    connection.settimeout(END_S)
    try:
        connection.sendall(encode_frame({"id": 1, "op": "end"}))
        while connection.recv(65_536):
            continue
    except OSError:
        pass  # it is replaced by the next start all the same, which takes its socket
    connection.close()


def _is_idle(connection: socket.socket) -> bool:
    connection.settimeout(END_S)
    connection.sendall(encode_frame({"id": 1, "op": "info"}) + encode_frame({"id": 2, "op": "list"}))
    info, listed = (_answer(connection) for _ in range(2))
    connection.settimeout(None)
    now = time.time()
    return (
        info.get("attached") == 1
        and info.get("processes") == 0
        and all(now - _ended_at(process) > KEPT_S for process in _records(listed.get("processes")))
    )


def _answer(connection: socket.socket) -> dict[str, object]:
    return _record(receive(connection)[0].get("ok"))


def _records(value: object) -> list[dict[str, object]]:
    return [_record(each) for each in value] if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON holds anything


def _record(value: object) -> dict[str, object]:
    return {**value} if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # JSON's keys are text


def _ended_at(process: dict[str, object]) -> float:
    return float(str(process.get("started_at"))) + float(str(process.get("duration_ms"))) / 1000


def _retired() -> set[str]:
    try:
        with open(RETIRED) as source:
            return set(source.read().split())
    except FileNotFoundError:
        return set()
