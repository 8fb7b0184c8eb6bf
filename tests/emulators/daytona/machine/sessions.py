"""Sessions: shells that live on, and are fed one command after another on their standard input."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.emulators.daytona.machine.commands import shell
from tests.emulators.daytona.machine.logs import STDERR, STDOUT, Log
from tests.emulators.daytona.machine.wire import DATA, Channel, Fields, Refusal

__all__ = ["SESSION_OPERATIONS"]

_POLL_S = 0.05
_LOOK_S = 0.2
_DRAIN_S = 1.0


class _Command:
    """One command of a session. Its exit status is in a file, which the session's shell writes after it."""

    def __init__(self, folder: Path, text: str) -> None:
        self.id = str(uuid.uuid4())
        self.text = text
        self.folder = folder / self.id
        self.folder.mkdir(parents=True)
        self.log = Log(self.folder / "output.log")
        self._input: int | None = None
        self._readers: list[threading.Thread] = []

    def prepare(self, *, interactive: bool) -> str:
        """What the shell is told. Braces let the command change the shell, and end it."""
        folder = shlex.quote(str(self.folder))
        for name, mark in (("out", STDOUT), ("err", STDERR)):
            os.mkfifo(self.folder / name)
            reader = threading.Thread(target=self._read, args=(self.folder / name, mark), daemon=True)
            reader.start()
            self._readers.append(reader)
        stdin = "/dev/null"
        if interactive:
            os.mkfifo(self.folder / "in")
            # Open for both, so that it neither waits for the command nor ends when the command looks too early.
            self._input = os.open(self.folder / "in", os.O_RDWR)
            stdin = f"{folder}/in"
        return (
            f"{{\n{self.text}\n}} < {stdin} > {folder}/out 2> {folder}/err\n"
            f"echo $? > {folder}/exit.new; mv {folder}/exit.new {folder}/exit\n"
        )

    def _read(self, fifo: Path, mark: bytes) -> None:
        self.log.follow_stream(fifo.open("rb"), mark)

    @property
    def exit_code(self) -> int | None:
        """None until its output is read as well, unless what it left in the background holds on to that."""
        written = self.folder / "exit"
        try:
            code, since = int(written.read_text()), written.stat().st_mtime
        except FileNotFoundError:
            return None
        is_read = not any(each.is_alive() for each in self._readers)
        return code if is_read or time.time() - since > _DRAIN_S else None

    def send(self, data: str, *, echo: bool) -> None:
        if self.exit_code is not None:
            raise Refusal(410, "command already completed", "COMMAND_ALREADY_COMPLETED")
        if self._input is None:
            raise Refusal(400, "command does not take input", "BAD_REQUEST")
        os.write(self._input, data.encode() if data.endswith("\n") else data.encode() + b"\n")
        if echo:
            self.log.add(STDOUT, data.encode())

    def show(self) -> Fields:
        shown: Fields = {"id": self.id, "command": self.text}
        if (code := self.exit_code) is not None:
            shown["exitCode"] = code
        return shown


class _Session:
    def __init__(self, name: str) -> None:
        self.name = name
        self.commands: dict[str, _Command] = {}
        self.echoes: dict[str, bool] = {}
        self._folder = Path(os.environ["HOME"], ".daytona", "sessions", name)
        self._lock = threading.Lock()
        self._shell = subprocess.Popen(
            [shell()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, text: str, *, interactive: bool, echo: bool) -> _Command:
        command = _Command(self._folder, text)
        stdin = self._shell.stdin
        assert stdin is not None
        with self._lock:
            try:
                stdin.write(command.prepare(interactive=interactive).encode())
                stdin.flush()
            except BrokenPipeError:
                raise Refusal(500, "failed to write command: write |1: broken pipe", "INTERNAL_ERROR") from None
        self.commands[command.id] = command
        self.echoes[command.id] = echo
        return command

    def command(self, name: str) -> _Command:
        if name not in self.commands:
            raise Refusal(404, "command not found", "PROCESS_NOT_FOUND")
        return self.commands[name]

    def show(self) -> Fields:
        return {"sessionId": self.name, "commands": [each.show() for each in list(self.commands.values())]}

    def delete(self) -> None:
        """All that was started in it ends, whatever it did to live on."""
        for process in _descendants(self._shell.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._shell.wait()
        if self._shell.stdin is not None:
            with suppress(BrokenPipeError):
                self._shell.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _descendants(leader: int) -> set[int]:
    """The processes of this session of the kernel, and those below them."""
    parents: dict[int, int] = {}
    found = {leader}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(state[1])
                if int(state[3]) == leader:
                    found.add(int(entry.name))
    grown = True
    while grown:
        below = {process for process, parent in parents.items() if parent in found} - found
        grown = bool(below)
        found |= below
    return found


_sessions: dict[str, _Session] = {}
_lock = threading.Lock()


def _find(fields: Fields, status: int = 404) -> _Session:
    name = str(fields.get("session"))
    if name not in _sessions:
        raise Refusal(status, f"session not found: {name}" if status != 404 else "session not found", "NOT_FOUND")
    return _sessions[name]


def _create(_channel: Channel, fields: Fields) -> object:
    name = fields.get("sessionId")
    if not isinstance(name, str) or not name or "/" in name:
        raise Refusal(400, "session ID is required", "BAD_REQUEST")
    with _lock:
        if name in _sessions:
            raise Refusal(409, "session already exists", "CONFLICT")
        _sessions[name] = _Session(name)
    return {}


def _list(_channel: Channel, _fields: Fields) -> object:
    return [each.show() for each in list(_sessions.values())]


def _show(_channel: Channel, fields: Fields) -> object:
    return _find(fields).show()


def _delete(_channel: Channel, fields: Fields) -> object:
    with _lock:
        session = _find(fields)
        del _sessions[session.name]
    session.delete()
    return {}


def _execute(_channel: Channel, fields: Fields) -> object:
    text = fields.get("command")
    if not isinstance(text, str) or not text.strip():
        raise Refusal(400, "command cannot be empty", "BAD_REQUEST")
    session = _find(fields, status=500)
    detached = fields.get("runAsync") is True or fields.get("async") is True
    command = session.run(text, interactive=detached, echo=fields.get("suppressInputEcho") is not True)
    if detached:
        return {"cmdId": command.id}
    # As long as it takes: a command that ends its shell is waited for without end.
    while (code := command.exit_code) is None:
        if session.name not in _sessions:
            raise Refusal(410, "session ended", "SESSION_ENDED")
        time.sleep(_POLL_S)
    output, stdout, stderr = command.log.streams()
    return {"cmdId": command.id, "exitCode": code, "output": output, "stdout": stdout, "stderr": stderr}


def _command(_channel: Channel, fields: Fields) -> object:
    return _find(fields).command(str(fields.get("command"))).show()


def _input(_channel: Channel, fields: Fields) -> object:
    session, name = _find(fields), str(fields.get("command"))
    session.command(name).send(str(fields.get("data")), echo=session.echoes[name])
    return {}


def _logs(_channel: Channel, fields: Fields) -> object:
    output, stdout, stderr = _find(fields).command(str(fields.get("command"))).log.streams()
    return {"output": output, "stdout": stdout, "stderr": stderr}


def _follow(channel: Channel, fields: Fields) -> object:
    """All from the start and whatever comes, until the command has ended."""
    session = _find(fields)
    command = session.command(str(fields.get("command")))
    offset, ended = 0, False
    while True:
        content = command.log.read(offset)
        if content:
            channel.send(DATA, content)
            offset += len(content)
        elif ended or _sessions.get(session.name) is not session:
            return {}
        elif command.exit_code is not None:
            ended = True
        else:
            command.log.wait(offset, _LOOK_S)


SESSION_OPERATIONS: dict[str, Callable[[Channel, Fields], object]] = {
    "sessions.command": _command,
    "sessions.create": _create,
    "sessions.delete": _delete,
    "sessions.execute": _execute,
    "sessions.follow": _follow,
    "sessions.input": _input,
    "sessions.list": _list,
    "sessions.logs": _logs,
    "sessions.show": _show,
}
