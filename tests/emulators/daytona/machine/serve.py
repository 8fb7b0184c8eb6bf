"""The first program in a sandbox: it does what the toolbox is asked for, one thread for each connection."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from tests.emulators.daytona.machine.commands import COMMAND_OPERATIONS
from tests.emulators.daytona.machine.files import FILE_OPERATIONS
from tests.emulators.daytona.machine.ports import FOLDER, PORT_OPERATIONS, let_out
from tests.emulators.daytona.machine.repositories import GIT_OPERATIONS
from tests.emulators.daytona.machine.sessions import SESSION_OPERATIONS
from tests.emulators.daytona.machine.terminals import TERMINAL_OPERATIONS
from tests.emulators.daytona.machine.wire import Channel, Fields, Refusal

__all__ = ["main"]


def _places(_channel: Channel, _fields: Fields) -> object:
    return {"home": os.environ["HOME"], "work": os.getcwd()}


OPERATIONS: dict[str, Callable[[Channel, Fields], object]] = {
    "places": _places,
    **COMMAND_OPERATIONS,
    **FILE_OPERATIONS,
    **GIT_OPERATIONS,
    **PORT_OPERATIONS,
    **SESSION_OPERATIONS,
    **TERMINAL_OPERATIONS,
}


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{FOLDER}/toolbox")
        listener.listen(512)
        let_out()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    channel = Channel(connection)
    try:
        fields = channel.receive_fields()
        if fields is not None:
            _answer(channel, fields)
    except ConnectionError:
        pass  # the service gave up; what was begun goes on
    finally:
        channel.close()


def _answer(channel: Channel, fields: Fields) -> None:
    try:
        operation = OPERATIONS[str(fields.get("operation"))]
        channel.send_fields({"result": operation(channel, fields)})
    except Refusal as refusal:
        channel.send_fields({"status": refusal.status, "code": refusal.code, "message": refusal.message})
