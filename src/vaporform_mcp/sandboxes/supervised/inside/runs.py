"""The requests about commands: run, join, cancel, list, wait, output, input, resize, stop."""

from __future__ import annotations

import functools

from .faults import Refused, refusal
from .keyed import Keyed, Terms
from .process import KILLED
from .waiting import Run, Stop, Wait

__all__ = ["Runs"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .commands import Commands
    from .connection import Connection
    from .loop import Loop
    from .process import Process
    from .request import Request
    from .root import Root

MAX_OUTPUT_BYTES = 8 * 1024 * 1024
"""What one `output` answers with at most."""


CONFIRM_S = 1.0
"""A run that is answered sooner than this waits until its command is known to have started."""


class Options:
    """How long a run may take, how long it is waited for, and what else ends the waiting."""

    __slots__ = ("stream", "timeout_s", "until_port", "wait_s")

    def __init__(self, *, timeout_s: float | None, wait_s: float | None, until_port: bool, stream: bool) -> None:
        self.timeout_s = timeout_s
        self.wait_s = wait_s
        self.until_port = until_port
        self.stream = stream


class Runs:
    def __init__(self, loop: Loop, commands: Commands, root: Root, ports: Callable[[], set[int]]) -> None:
        self._loop = loop
        self._commands = commands
        self._root = root
        self._ports = ports
        self._unanswered: dict[tuple[Connection, int], Run] = {}
        self._keyed = Keyed(loop, ports, self._told)

    def operations(self) -> dict[str, Callable[[Request], None]]:
        return {
            "run": self._run,
            "join": self._join,
            "cancel": self._cancel,
            "list": self._list,
            "wait": self._wait,
            "output": self._output,
            "input": self._input,
            "resize": self._resize,
            "stop": self._stop,
        }

    def disconnected(self, connection: Connection) -> None:
        """Kill the runs that nobody waits for any more."""
        for key in [key for key in self._unanswered if key[0] is connection]:
            run = self._unanswered.pop(key)
            run.let_go()
            run.process.kill(KILLED)
        self._keyed.disconnected(connection)

    def _run(self, request: Request) -> None:
        self._root.require()
        key = request.text("key", "")
        if key in self._keyed:
            self._keyed.join(key, request, Terms(request))  # it was asked for before, and the answer lost
            return
        self._keyed.require_wanted(key)
        command, cwd, env = request.text("command"), request.text("cwd", ""), request.pairs("env")
        timeout_s, wait_s = request.seconds("timeout_s"), request.seconds("wait_s")
        interactive, until_port, stream = (request.flag(name) for name in ("interactive", "until_port", "stream"))
        size = request.size("terminal")
        if size is not None and request.flag("apart"):
            raise Refused(
                "invalid_argument", "what is printed in a terminal cannot be kept apart", "Ask for one of both."
            )
        _check_text(command, cwd, env)
        if key:
            self._begin_keyed(key, request, command, cwd, env, timeout_s, size, interactive=interactive)
            return
        options = Options(timeout_s=timeout_s, wait_s=wait_s, until_port=until_port, stream=stream)
        order = functools.partial(self._begin, request, command, cwd, env, options, size, interactive=interactive)
        # Told, and sent, before it begins: a server that lost us without having heard it may run the command again.
        request.event("accepted", b"")
        if request.connection.unsent_bytes:
            request.connection.when_drained(lambda: self._begin_late(request, order))
        else:
            order()

    def _begin_keyed(
        self,
        key: str,
        request: Request,
        command: str,
        cwd: str,
        env: dict[str, str],
        timeout_s: float | None,
        size: tuple[int, int] | None,
        *,
        interactive: bool,
    ) -> None:
        terms = Terms(request)
        confirmed = terms.wait_s < CONFIRM_S
        before = self._ports() if terms.until_port else set[int]()
        process = self._commands.start(
            command=command,
            cwd=cwd or ".",
            env=env,
            stdin=interactive or bool(request.data),
            confirm=confirmed,
            unlisted=request.flag("unlisted"),
            size=size,
            apart=request.flag("apart"),
        )
        self._keyed.add(key, process, before, confirmed=confirmed)
        if timeout_s is not None:
            process.limit_time(timeout_s)
        process.feed(request.data, eof=not interactive and size is None)
        process.on_failed.append(lambda error, in_folder: self._refuse_keyed(key, process, error, cwd * in_folder))
        self._keyed.join(key, request, terms)

    def _refuse_keyed(self, key: str, process: Process, error: int, cwd: str) -> None:
        self._keyed.fail(key, refusal(OSError(error, ""), cwd or "the command"))
        self._commands.forget(process)

    def _join(self, request: Request) -> None:
        self._keyed.join(request.text("key"), request, Terms(request))

    def _begin_late(self, request: Request, order: Callable[[], None]) -> None:
        if request.connection.closed:
            return
        try:
            order()
        except Refused as error:
            request.refuse(error)

    def _begin(
        self,
        request: Request,
        command: str,
        cwd: str,
        env: dict[str, str],
        options: Options,
        size: tuple[int, int] | None,
        *,
        interactive: bool,
    ) -> None:
        timeout_s, wait_s = options.timeout_s, options.wait_s
        before = self._ports() if options.until_port else None
        process = self._commands.start(
            command=command,
            cwd=cwd or ".",
            env=env,
            stdin=interactive or bool(request.data),
            confirm=wait_s is not None and wait_s < CONFIRM_S,
            unlisted=request.flag("unlisted"),
            size=size,
            apart=request.flag("apart"),
        )
        if timeout_s is not None:
            process.limit_time(timeout_s)
        process.feed(request.data, eof=not interactive and size is None)
        process.on_failed.append(lambda error, in_folder: self._refuse(run, error, cwd if in_folder else ""))
        run = self._unanswered[request.connection, request.number] = Run(self._loop, request, process, self._answer)
        if wait_s is not None:
            run.answer_after(wait_s, confirmed=wait_s < CONFIRM_S)
        if options.stream:
            run.stream()
        if before is not None:
            run.answer_at_port(self._ports, before)

    def _answer(self, run: Run) -> None:
        self._unanswered.pop((run.request.connection, run.request.number), None)
        run.request.reply(*self._told(run.process))

    def _told(self, process: Process) -> tuple[dict[str, object], bytes]:
        head, tail = process.log.ends()
        fields: dict[str, object] = {
            "process": process.fields(),
            "omitted_bytes": process.log.total - len(head) - len(tail),
            "head_bytes": len(head),
            "output_file": process.log.spool_path,
            "ports": sorted(self._ports()),
        }
        data = head + tail
        if process.errors is not None:
            ends = process.errors.ends()
            kept = [len(end) for end in ends]
            fields["stderr"] = {"head_bytes": kept[0], "tail_bytes": kept[1], "total": process.errors.total}
            data += b"".join(ends)
        return fields, data

    def _refuse(self, run: Run, error: int, cwd: str) -> None:
        """It could not be started: answer why, and keep nothing of it."""
        run.let_go()
        self._commands.forget(run.process)
        if self._unanswered.pop((run.request.connection, run.request.number), None) is not None:
            run.request.refuse(refusal(OSError(error, ""), cwd or "the command"))

    def _cancel(self, request: Request) -> None:
        if key := request.text("key", ""):
            self._keyed.kill(key)
            request.reply({})
            return
        run = self._unanswered.get((request.connection, request.integer("target")))
        if run is not None:
            run.process.kill(KILLED)
        request.reply({})

    def _list(self, request: Request) -> None:
        request.reply({"processes": [process.fields() for process in self._commands]})

    def _wait(self, request: Request) -> None:
        process = self._commands.find(request.text("process"))
        offset = request.optional_integer("offset")
        Wait(self._loop, request, process, request.seconds("wait_s") or 0.0, offset)

    def _output(self, request: Request) -> None:
        log = self._commands.find(request.text("process")).log
        asked, limit = max(0, request.integer("offset")), request.integer("limit")
        start, data = log.read(asked, max(0, min(limit, MAX_OUTPUT_BYTES)))
        omitted = max(0, start - asked)
        request.reply({"offset": start, "next_offset": start + len(data), "omitted_bytes": omitted}, data)

    def _input(self, request: Request) -> None:
        process = self._commands.find(request.text("process"))
        if process.settled:
            raise Refused("not_found", f"process {process.id} has ended", "Start it again to give it input.")
        if not process.takes_input:
            raise Refused("not_supported", f"the input of process {process.id} is closed", "Start it as interactive.")
        if len(request.data) > process.input_room:
            raise Refused("limit", f"process {process.id} does not read its input", "Wait until it does, or stop it.")
        process.feed(request.data, eof=request.flag("eof"))
        request.reply({})

    def _resize(self, request: Request) -> None:
        process = self._commands.find(request.text("process"))
        size = request.size("size")
        if process.terminal is None or size is None:
            raise Refused("not_supported", f"process {process.id} has no terminal", "Start it with one.")
        if process.keeper.output < 0:
            raise Refused("not_found", f"process {process.id} has ended", "Start it again.")
        process.terminal.resize(*size)
        request.reply({})

    def _stop(self, request: Request) -> None:
        process = self._commands.find(request.text("process"))
        Stop(self._loop, request, process, request.seconds("grace_s") or 0.0)


def _check_text(command: str, cwd: str, env: dict[str, str]) -> None:
    """Refuse what no program can be given."""
    if not command.strip():
        raise Refused("invalid_argument", "the command is empty", "Give a shell command.")
    if "\0" in command or "\0" in cwd or any("\0" in name + value for name, value in env.items()):
        raise Refused("invalid_argument", "the command, its folder or its environment has a NUL in it", "Remove it.")
    if any(not name or "=" in name for name in env):
        raise Refused("invalid_argument", "an environment variable's name is empty or has '=' in it", "Rename it.")
    try:
        for text in (command, cwd, *env, *env.values()):
            text.encode()
    except UnicodeEncodeError:
        raise Refused("invalid_argument", "the command is not valid Unicode text", "Send it as UTF-8.") from None
