"""The supervisor of a sandbox: attached servers, their requests, and the sandbox's end."""

from __future__ import annotations

import gc
import os
import signal
import socket
import struct
import sys
import time

from .commands import Commands
from .config import read_config
from .connection import Connection
from .faults import Refused, refusal
from .files import Files
from .frames import encode_frame
from .kernel import become_subreaper, forbid_inspection, signals_as_reads
from .loop import Loop
from .network import Network
from .once import Once
from .root import Root
from .runs import Runs
from .scans import Scans
from .tunnels import Tunnels
from .uploads import Uploads
from .wire import PROTOCOL

__all__ = ["main"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Config
    from .confinement import Confinement
    from .request import Request

MAX_CONNECTIONS = 64
MAX_NAMES = 1_000
KILL_S = 2.0
END_S = 1.0
PAUSE_S = 0.1

# The number is the first field of a signalfd_siginfo.
_SIGNAL_BYTES = 128
_SIGNALS_READ = 4
_NUMBER = struct.Struct("I")

_CREDENTIALS = struct.Struct("iII")


def main(listen_fd: int, config_fd: int) -> None:
    """Serve until told to end, or until no server has been attached for as long as the configuration says."""
    forbid_inspection()
    become_subreaper()
    os.umask(0o022)
    listener = socket.socket(fileno=listen_fd)
    listener.set_inheritable(False)
    listener.setblocking(False)
    config = read_config(config_fd)
    loop = Loop()
    supervisor = Supervisor(listener, config, loop, _confine(config, loop))
    try:
        supervisor.run()
    finally:
        supervisor.kill_everything()


def _confine(config: Config, loop: Loop) -> Confinement | None:
    if config.restricted is None:
        return None
    # Where there are namespaces, none of this is loaded.
    from .confinement import Confinement, Unconfined

    try:
        return Confinement(config, config.restricted, loop)
    except Unconfined as error:
        sys.stderr.write(f"restricted: {error}\n")
        sys.exit(3)


class Supervisor:
    def __init__(self, listener: socket.socket, config: Config, loop: Loop, confinement: Confinement | None) -> None:
        self._config = config
        self._confinement = confinement
        self._listener = listener
        self._loop = loop
        self._root = Root(config.root)
        self._connections: set[Connection] = set()
        # Those that did more than look: whoever only looks, however often, does not keep the sandbox from ending.
        self._users: set[Connection] = set()
        self._started = time.monotonic()
        self._alone_since = self._started
        self._commands = Commands(self._loop, config, confinement)
        self._network = Network(self._loop, confinement, config.machine_ports)
        self._runs = Runs(self._loop, self._commands, self._root, self._network.ports)
        self._uploads = Uploads(self._root)
        self._tunnels = Tunnels(self._loop)
        self._once = Once()
        self._scans = Scans(self._loop, self._root, self._commands)
        self._operations: dict[str, Callable[[Request], None]] = {
            **self._runs.operations(),
            **Files(self._loop, self._root).operations(),
            **self._uploads.operations(),
            **self._scans.operations(),
            **self._network.operations(),
            **self._tunnels.operations(),
            "which": self._which,
            "info": self._info,
            "end": self._end,
        }

    def run(self) -> None:
        self._listen()
        self._heed_signals()
        self._commands.prepare()
        self._loop.after(self._config.linger_s, self._look_whether_alone)
        # What exists by now stays; keepers share its memory only as long as the collector does not touch it.
        gc.freeze()
        self._loop.run()

    def kill_everything(self) -> None:
        """As PID 1 this is the kernel's work, and done once we exit; elsewhere nobody else would do it."""
        if os.getpid() == 1:
            return
        until = time.monotonic() + KILL_S
        while self._commands.kill_all() and time.monotonic() < until:
            time.sleep(0.002)
            self._commands.collect()

    # Signals ---------------------------------------------------------------------------------------------------

    def _heed_signals(self) -> None:
        heeded = {signal.SIGCHLD}
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # The kernel keeps from PID 1 what it has no handler for, so a command cannot end the sandbox. Ignoring
            # them would be handed on to every command.
            signal.signal(number, signal.SIG_DFL)
            if os.getpid() != 1:
                heeded.add(number)
        descriptor = signals_as_reads(heeded)
        self._loop.watch(descriptor, lambda: self._signalled(descriptor))

    def _signalled(self, descriptor: int) -> None:
        try:
            came = os.read(descriptor, _SIGNALS_READ * _SIGNAL_BYTES)
        except BlockingIOError:
            return
        numbers = [_NUMBER.unpack_from(came, at)[0] for at in range(0, len(came), _SIGNAL_BYTES)]
        if any(number != signal.SIGCHLD for number in numbers):
            self._loop.stop()
        self._commands.collect()

    # Servers ---------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                # No descriptors left, most likely: looking again at once would only burn the processor.
                self._loop.unwatch(self._listener.fileno())
                self._loop.after(PAUSE_S, self._listen)
                return
            if len(self._connections) >= MAX_CONNECTIONS or not self._is_welcome(accepted):
                accepted.close()
                continue
            connection = Connection(self._loop, accepted, self._dispatch, self._disconnected)
            self._connections.add(connection)
            connection.send(
                encode_frame(
                    {
                        "hello": PROTOCOL,
                        "workspace": self._config.workspace,
                        "epoch": self._config.epoch,
                        "config": self._config.digest,
                        "attached": len(self._connections),
                    }
                )
            )

    def _listen(self) -> None:
        self._loop.watch(self._listener.fileno(), self._accept)

    def _is_welcome(self, accepted: socket.socket) -> bool:
        if not self._config.outside_only and self._confinement is None:
            return True
        credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid = _CREDENTIALS.unpack(credentials)[0]
        if self._confinement is not None:
            # What a command connects is connected by us.
            return pid != os.getpid() and not self._confinement.owns(pid)
        # A process that has no number here is not of this sandbox.
        return pid == 0

    def _disconnected(self, connection: Connection) -> None:
        self._connections.discard(connection)
        for part in (self._runs, self._uploads, self._scans, self._network, self._tunnels):
            part.disconnected(connection)
        if not self._connections and connection in self._users:
            self._alone_since = time.monotonic()
        self._users.discard(connection)
        if not self._connections:
            self._loop.after(self._config.linger_s, self._look_whether_alone)

    def _look_whether_alone(self) -> None:
        if self._connections or time.monotonic() - self._alone_since < self._config.linger_s:
            return
        # One may have come a moment ago. Another that still slips in meets the end before a greeting, and tries again.
        self._accept()
        if not self._connections:
            self._loop.stop()

    # Requests --------------------------------------------------------------------------------------------------

    def _dispatch(self, request: Request) -> None:
        if request.op != "info":
            self._users.add(request.connection)
        operation = self._operations.get(request.op)
        if operation is None:
            request.refuse(Refused("not_supported", f"the sandbox does not know the request {request.op[:40]!r}"))
            return
        try:
            if self._once.is_first(request):
                operation(request)
        except Refused as error:
            request.refuse(error)
        except OSError as error:
            request.refuse(refusal(error, ""))
        except Exception as error:  # noqa: BLE001  # one request that goes wrong must not end the others' commands
            request.fail(error)

    def _which(self, request: Request) -> None:
        folders = [folder for folder in self._config.env.get("PATH", os.defpath).split(":") if folder.startswith("/")]
        names = request.texts("names")[:MAX_NAMES]
        request.reply({"found": {name: _find_program(name, folders) for name in names}})

    def _info(self, request: Request) -> None:
        request.reply(
            {
                "attached": len(self._connections),
                "processes": self._commands.living,
                "uptime_s": time.monotonic() - self._started,
                "root_gone": self._root.is_gone,
            }
        )

    def _end(self, request: Request) -> None:
        request.reply({})
        request.connection.when_drained(self._loop.stop)
        self._loop.after(END_S, self._loop.stop)


def _find_program(name: str, folders: list[str]) -> str | None:
    if not name or "/" in name or "\0" in name:
        return None
    for folder in folders:
        path = f"{folder}/{name}"
        try:
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        except ValueError:
            return None
    return None
