"""A supervisor to talk to over its wire: an ordinary child process, PID 1 of its own namespaces, or restricted."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.inside.starting import Level, configuration, restriction, start
from vaporform_mcp.sandboxes.supervised.fields import Fields, JsonValue, parse_fields
from vaporform_mcp.sandboxes.supervised.inside.wire import EGRESS_PORT, HEADER

__all__ = [
    "ONLY_INSIDE",
    "SUPERVISOR",
    "WAIT_S",
    "Client",
    "Gone",
    "Level",
    "Reply",
    "Supervised",
    "free_port",
    "supervise",
    "until",
]

WAIT_S = 30.0
"""How long a test waits for what must happen at all; a busy machine takes its time."""

SUPERVISOR = "$(awk '/^PPid/ {print $2}' /proc/$PPID/status)"
"""Of a command, the number of the supervisor's process: its keeper's parent."""

ONLY_INSIDE = (
    "test -d /.vf/inside || "
    f"{{ grep -q '^Seccomp:.2' /proc/self/status && test {SUPERVISOR} -gt 1 && ! kill -0 {SUPERVISOR} 2>/dev/null; }} "
    "|| exit 99; "
)
"""Begins every command that kills or fills without aim: elsewhere it would hit the machine itself."""


class Gone(Exception):
    """The supervisor ended the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """`code` is the error's, "" where there is none; `ok` is then empty."""

    ok: Fields
    code: str
    message: str
    data: bytes
    events: list[tuple[Fields, bytes]]
    sockets: list[socket.socket]

    @property
    def state(self) -> str:
        return self.ok.object("process").text("state")

    @property
    def exit_code(self) -> int | None:
        process = self.ok.object("process")
        return None if process.is_null("exit_code") else process.number("exit_code")

    @property
    def process_id(self) -> str:
        return self.ok.object("process").text("id")


class Client:
    """One attached server."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WAIT_S)
        self._socket.connect(str(path))
        self._buffer = bytearray()
        self._descriptors = array.array("i")
        self._number = 0
        self._waiting: dict[int, list[tuple[Fields, bytes, list[socket.socket]]]] = {}
        self.hello = self._frame()[0]

    def close(self) -> None:
        self._socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = array.array("i")

    def ask(self, op: str, data: bytes = b"", /, **fields: JsonValue) -> Reply:
        return self.answer(self.send(op, data, **fields))

    def send(self, op: str, data: bytes = b"", /, **fields: JsonValue) -> int:
        """Begin a request; `answer` waits for its reply."""
        self._number += 1
        encoded = json.dumps({"id": self._number, "op": op, **fields}).encode()
        self.send_bytes(HEADER.pack(len(encoded), len(data)) + encoded + data)
        return self._number

    def send_bytes(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def answer(self, number: int) -> Reply:
        events: list[tuple[Fields, bytes]] = []
        while True:
            fields, data, sockets = self._next(number)
            if "event" in fields:
                events.append((fields, data))
                continue
            error = fields.object("error") if "error" in fields else None
            return Reply(
                ok=fields.object("ok") if error is None else Fields({}),
                code="" if error is None else error.text("code"),
                message="" if error is None else error.text("message"),
                data=data,
                events=events,
                sockets=sockets,
            )

    def run(self, command: str, data: bytes = b"", /, **fields: JsonValue) -> Reply:
        return self.answer(self.begin(command, data, **fields))

    def begin(self, command: str, data: bytes = b"", /, **fields: JsonValue) -> int:
        asked: dict[str, JsonValue] = {"command": command, "cwd": "", "timeout_s": WAIT_S}
        return self.send("run", data, **{**asked, **fields})

    def say(self, command: str) -> str:
        """What a command prints that must succeed."""
        reply = self.run(command)
        assert (reply.state, reply.exit_code) == ("exited", 0), reply.data
        return reply.data.decode().strip()

    def python(self, program: str, *arguments: object) -> str:
        """What a program prints that must succeed; it is left in the workspace."""
        self.write("program.py", program.encode())
        return self.say(" ".join(["python3 program.py", *map(str, arguments)]))

    def state(self, process: str) -> str:
        return self.ask("wait", process=process, wait_s=0, offset=None).state

    def output(self, process: str) -> bytes:
        return self.ask("output", process=process, offset=0, limit=1_000_000).data

    def write(self, path: str, content: bytes, *, mode: int | None = None, kind: str = "f") -> Fields:
        """Write one file; its item of the reply."""
        file: JsonValue = {"path": path, "mode": mode, "kind": kind, "size": len(content)}
        return self.ask("write", content, files=[file]).ok.objects("files")[0]

    def _next(self, number: int) -> tuple[Fields, bytes, list[socket.socket]]:
        while True:
            if self._waiting.get(number):
                return self._waiting[number].pop(0)
            fields, data = self._frame()
            count = fields.number("fds") if "fds" in fields else 0
            sockets = [socket.socket(fileno=self._descriptors.pop(0)) for _ in range(count)]
            self._waiting.setdefault(fields.number("id"), []).append((fields, data, sockets))

    def _frame(self) -> tuple[Fields, bytes]:
        while True:
            if len(self._buffer) >= HEADER.size:
                json_size, data_size = HEADER.unpack_from(self._buffer)
                middle = HEADER.size + json_size
                if len(self._buffer) >= middle + data_size:
                    frame = parse_fields(bytes(self._buffer[HEADER.size : middle]))
                    data = bytes(self._buffer[middle : middle + data_size])
                    del self._buffer[: middle + data_size]
                    return frame, data
            try:
                received, ancillary, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(64))
            except ConnectionError:
                raise Gone from None
            for _, _, rights in ancillary:
                self._descriptors.frombytes(rights)
            if not received:
                raise Gone
            self._buffer += received


@dataclass(slots=True, kw_only=True)
class Supervised:
    """A running supervisor. `folder` is its workspace as this side sees it; `log` is what it says on stderr;
    `egress_port` is where its commands find the proxy.
    """

    process: subprocess.Popen[bytes]
    path: Path
    folder: Path
    log: Path
    egress_port: int
    clients: list[Client] = field(default_factory=list[Client])

    def attach(self) -> Client:
        client = Client(self.path)
        self.clients.append(client)
        return client

    def has_ended(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def supervise(
    place: Path, *, level: Level, restricted: dict[str, JsonValue] | None = None, **config: JsonValue
) -> Generator[Supervised]:
    """Start one with `config`, and `restricted` in its own part; at the end it is ended, and must not have complained.

    `place` is not where a restricted one of root's is: its user could not reach that.
    """
    if level == "restricted" and os.geteuid() == 0:
        with tempfile.TemporaryDirectory(dir="/tmp", prefix="vaporform-test-") as made:
            Path(made).chmod(0o711)
            with _supervise(Path(made), level, restricted or {}, config) as supervised:
                yield supervised
    else:
        with _supervise(place, level, restricted or {}, config) as supervised:
            yield supervised


@contextmanager
def _supervise(
    place: Path, level: Level, restricted: dict[str, JsonValue], config: dict[str, JsonValue]
) -> Generator[Supervised]:
    folder = place / "workspace"
    folder.mkdir(mode=0o755, exist_ok=True)
    path = place / "socket"
    log = place / "log"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening,
        socket.create_server(("127.0.0.1", 0)) as egress,
    ):
        listening.bind(str(path))
        listening.listen(64)
        fields = configuration(place, level)
        if level == "restricted":
            fields["restricted"] = restriction(place, egress) | restricted
        told = os.memfd_create("config")
        try:
            os.write(told, json.dumps(fields | config).encode())
            started = start([listening.fileno(), told, egress.fileno()], folder, log, level)
        finally:
            os.close(told)
        port = int(egress.getsockname()[1]) if level == "restricted" else EGRESS_PORT
    supervised = Supervised(process=started, path=path, folder=folder, log=log, egress_port=port)
    try:
        yield supervised
    finally:
        for client in supervised.clients:
            client.close()
        _end(supervised)
    complaints = log.read_text()
    assert complaints == "", complaints


def free_port() -> int:
    """One that nobody uses now: the port of a restricted sandbox is the machine's."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def children(pid: int) -> list[str]:
    """Of all its threads."""
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [child for some in found for child in some]


def until(condition: Callable[[], bool], *, within_s: float = WAIT_S) -> None:
    """Wait for what is to become true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.01)


def _end(supervised: Supervised) -> None:
    # Its bubblewrap, if there is one, takes the namespaces with it.
    supervised.process.terminate()
    try:
        supervised.process.wait(WAIT_S)
    finally:
        supervised.process.kill()
