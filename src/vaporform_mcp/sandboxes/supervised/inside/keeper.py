"""Keepers: the process above each command, which collects everything that the command leaves behind.

A keeper adopts whatever loses its parent below it, so that every descendant of its command, however it detached
itself, is found by walking down from the keeper. It is forked before it is needed and told by a message what to run;
its only use is one command. It ends when nothing of that command is left.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
import sys
import time

from .bereavement import mind
from .kernel import apply_limits, become_subreaper, close_all_but
from .terminal import spawn

__all__ = ["CANNOT_ENTER", "CANNOT_START", "ENDED", "MAX_MESSAGE_BYTES", "STARTED", "Keeper", "Order", "fork_keeper"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .terminal import Terminal

REPORT = struct.Struct("!ci")
"""A keeper's message: one of the kinds below with the process id, the wait status, or the errno."""

STARTED = b"s"
ENDED = b"e"
CANNOT_ENTER = b"c"
CANNOT_START = b"x"

MAX_MESSAGE_BYTES = 64 * 1024
"""A larger order is not sent but inherited, by a keeper forked for it: no socket is sure to take it at once."""

YIELD_S = 0.001

_CAUGHT = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
)
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores, which a command would inherit."""

_DEFAULT = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, *_CAUGHT, *_IGNORED})
"""All others: whoever started the sandbox may have ignored some, as nohup does."""


class Order:
    """What a keeper is to run: `program`, a shell, with `command`.

    `env` is all of the command's environment. With `stdin` it reads from the pipe. `confirm` asks for a report when
    it has started, `apart` for its stderr in a pipe of its own.
    """

    __slots__ = ("apart", "command", "confirm", "cwd", "env", "program", "stdin")

    def __init__(
        self,
        *,
        program: str,
        command: str,
        cwd: str,
        env: Mapping[str, str],
        stdin: bool,
        confirm: bool,
        apart: bool = False,
    ) -> None:
        self.program = program
        self.command = command
        self.cwd = cwd
        self.env = env
        self.stdin = stdin
        self.confirm = confirm
        self.apart = apart

    def encode(self) -> bytes:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}).encode()

    @staticmethod
    def decode(message: bytes) -> Order:
        return Order(**json.loads(message))


class Keeper:
    """The supervisor's side of one keeper. The descriptors are its own; -1 where closed."""

    __slots__ = ("_channel", "errors", "input", "output", "pid")

    def __init__(self, pid: int, channel: socket.socket, output: int, stdin: int, errors: int) -> None:
        self.pid = pid
        self.output = output
        self.errors = errors
        self.input = stdin
        self._channel = channel

    @property
    def channel(self) -> int:
        return self._channel.fileno()

    def tell(self, order: bytes) -> bool:
        """Whether the keeper was there to be told."""
        try:
            return self._channel.send(order) == len(order)
        except OSError:
            return False

    def report(self) -> tuple[bytes, int] | None:
        """The next report, if there is one; kind b"" once there will be none."""
        try:
            message = self._channel.recv(REPORT.size)
        except BlockingIOError:
            return None
        except OSError:
            return b"", 0
        if len(message) != REPORT.size:
            return b"", 0
        kind, value = REPORT.unpack(message)
        return kind, value

    def close_input(self) -> None:
        if self.input >= 0:
            os.close(self.input)
            self.input = -1

    def close_output(self) -> None:
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def close_errors(self) -> None:
        if self.errors >= 0:
            os.close(self.errors)
            self.errors = -1

    def close(self) -> None:
        """Let go of everything; safe to call twice. A keeper that was told nothing ends by this."""
        self._channel.close()
        self.close_input()
        self.close_output()
        self.close_errors()


def fork_keeper(
    limits: Mapping[str, int],
    order: Order | None = None,
    bereaved: Callable[[], None] | None = None,
    terminal: Terminal | None = None,
) -> Keeper:
    """A keeper that waits to be told, or that runs `order` at once. Raises `OSError` where no process can be had.

    With a `terminal`, which is the keeper's from then on, the command runs in that instead of reading and printing by
    pipes; it has to be inherited, so an order goes with it. `bereaved` is what it does when the supervisor has ended;
    None where it then ends anyway, with their namespace.
    """
    supervisor = os.getpid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    opened: list[int] = []
    errors = error_end = -1
    try:
        if terminal is None:
            for _ in range(3):
                opened += os.pipe()
            output, write_end, read_end, stdin, errors, error_end = opened
        else:
            # Each is watched for itself, and closed by whoever is done with it.
            output, stdin = terminal.near, os.dup(terminal.near)
            write_end = read_end = terminal.far
            opened.append(stdin)
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        for each in opened:
            os.close(each)
        raise
    if pid == 0:
        try:
            unwanted = None if bereaved is None else mind(supervisor, bereaved)
            _keep(theirs, read_end, write_end, error_end, limits, order, unwanted, in_terminal=terminal is not None)
        except BaseException as error:  # noqa: BLE001  # nothing of this process may go on as a second supervisor
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(70)
    theirs.close()
    if terminal is None:
        for each in (write_end, read_end, error_end):
            os.close(each)
        os.set_blocking(errors, False)
    else:
        terminal.let_go()
    ours.setblocking(False)
    os.set_blocking(output, False)
    os.set_blocking(stdin, False)
    return Keeper(pid, ours, output, stdin, errors)


def _keep(
    channel: socket.socket,
    read_end: int,
    write_end: int,
    error_end: int,
    limits: Mapping[str, int],
    order: Order | None,
    unwanted: Callable[[], None] | None,
    *,
    in_terminal: bool,
) -> None:
    """The life of a keeper; never returns to the supervisor's code. `unwanted` comes last where it is told nothing."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Caught, not ignored: what is ignored stays so in the command. A command may signal its parent.
    for number in _CAUGHT:
        if signal.getsignal(number) in {signal.SIG_DFL, signal.SIG_IGN}:
            signal.signal(number, _do_nothing)
    for number in _DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    gc.disable()
    close_all_but({channel.fileno(), read_end, write_end, error_end})
    become_subreaper()
    apply_limits(limits)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    if order is None:
        _rehearse(null)
        message = channel.recv(2 * MAX_MESSAGE_BYTES)
        if not message:
            if unwanted is not None:
                unwanted()
            os._exit(0)
        order = Order.decode(message)
    ends = (read_end if order.stdin else null, write_end, error_end if order.apart else write_end)
    main = _start(channel, order, ends, in_terminal=in_terminal)
    # Copies of the ends kept here would hide from either side that the other is done.
    for each in {read_end, write_end, error_end, null} - {-1}:
        os.close(each)
    _reap(channel, main)


def _start(channel: socket.socket, order: Order, ends: tuple[int, int, int], *, in_terminal: bool) -> int:
    """`ends` are its stdin, stdout and stderr; of a terminal the second is all three."""
    try:
        os.chdir(order.cwd)
    except OSError as error:
        channel.send(REPORT.pack(CANNOT_ENTER, error.errno or 0))
        os._exit(0)
    # A shell would take a command that begins so for an option.
    command = " " + order.command if order.command[:1] in {"-", "+"} else order.command
    try:
        if in_terminal:
            pid = spawn(order.program, _arguments(order.program, command), order.env, ends[1], _IGNORED)
        else:
            pid = _spawn(order.program, command, order.env, ends)
    except OSError as error:
        channel.send(REPORT.pack(CANNOT_START, error.errno or 0))
        os._exit(0)
    if order.confirm:
        channel.send(REPORT.pack(STARTED, pid))
    return pid


def _spawn(program: str, command: str, env: Mapping[str, str], ends: tuple[int, int, int]) -> int:
    return os.posix_spawn(
        program,
        _arguments(program, command),
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, end, target) for target, end in enumerate(ends)],
        setsid=True,
        setsigmask=[],
        setsigdef=_IGNORED,
    )


def _arguments(program: str, command: str) -> list[str]:
    return [program.rpartition("/")[2], "-c", command]


def _rehearse(null: int) -> None:
    """Do, to no effect, what an order will ask for.

    After a fork each page of memory is copied when it is first written to. Copied now, while nobody waits, they no
    longer delay the command.
    """
    order = Order(program="/dev/null", command="", cwd=".", env={"PATH": ""}, stdin=False, confirm=False)
    order = Order.decode(order.encode())
    try:
        os.chdir(order.cwd)
        _spawn(order.program, order.command, order.env, (null, null, null))
    except OSError:
        REPORT.pack(ENDED, 0)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        os.close(os.dup(null))


def _reap(channel: socket.socket, main: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)
        if pid == main:
            try:
                channel.send(REPORT.pack(ENDED, status))
            except OSError:
                continue  # nobody is left to know; what remains below is still collected
            # Going on at once, most often to our own end, we would keep from the processor whom we have just woken.
            time.sleep(YIELD_S)


def _do_nothing(_signal: int, _frame: object) -> None:
    return
