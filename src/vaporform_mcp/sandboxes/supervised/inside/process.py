"""One command, from its order to the end of the last process that it left behind."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
import time

from .keeper import CANNOT_ENTER, CANNOT_START, ENDED, STARTED
from .kernel import kill_below, send_signal, terminate_below
from .loop import WRITE
from .output import OutputLog
from .terminal import END_OF_INPUT

__all__ = ["EXITED", "KILLED", "RUNNING", "TIMED_OUT", "Process"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .keeper import Keeper
    from .loop import Loop, Timer
    from .terminal import Terminal

RUNNING = "running"
EXITED = "exited"
TIMED_OUT = "timed_out"
KILLED = "killed"

READ_BYTES = 64 * 1024
READS_A_TURN = 4
TERMINAL_READS_A_TURN = 64
"""It gives a few kilobytes at a time, as much as it holds."""

INPUT_BYTES = 1024 * 1024
"""How much input may wait for a command that does not read it."""

SHOWN_CHARACTERS = 4_000
"""Of a command in the table: all of them must fit into one frame."""

GIVE_UP_S = 2.0
"""After so long a kill is answered although something of the command, stuck in the kernel, is still there."""

_EMPTY_ROUNDS = 3


class Process:
    """`state` is final once `settled`: its shell has ended or, where it was killed, everything below it is gone.

    `gone` means that nothing of it is left; `orphaned`, that its keeper is no longer there to find it by. Callbacks:
    `on_output` with what was printed; `on_start` if it was asked to confirm, or `on_failed` with an errno and whether
    it was the folder's; `on_settled` and `on_gone`. All but the first are called once at most; they may change the
    lists. `errors` is what it printed to stderr, where that is kept apart; `on_output` is not told of it.
    """

    def __init__(
        self, loop: Loop, number: str, command: str, log: OutputLog, keeper: Keeper, terminal: Terminal | None = None
    ) -> None:
        self.id = number
        self.terminal = terminal
        self.command = command
        self.log = log
        self.errors = None if keeper.errors < 0 else OutputLog("")
        self.keeper = keeper
        self.state = RUNNING
        self.exit_code: int | None = None
        self.started_at = time.time()
        self.settled = False
        self.gone = False
        self.orphaned = False
        self.on_output: list[Callable[[bytes], None]] = []
        self.on_start: list[Callable[[], None]] = []
        self.on_failed: list[Callable[[int, bool], None]] = []
        self.on_settled: list[Callable[[], None]] = []
        self.on_gone: list[Callable[[], None]] = []
        self._loop = loop
        self._started = time.monotonic()
        self._ended = 0.0
        self._verdict: str | None = None
        self._status: int | None = None
        self._deadline: Timer | None = None
        self._grace: Timer | None = None
        self._killing_since: float | None = None
        self._empty_rounds = 0
        self._input = bytearray()
        self._input_eof = False
        loop.watch(keeper.output, self._printed)
        if self.errors is not None:
            loop.watch(keeper.errors, self._complained)
        loop.watch(keeper.channel, self._reported)

    @property
    def duration_ms(self) -> int:
        return round(((self._ended if self.settled else time.monotonic()) - self._started) * 1000)

    def fields(self) -> dict[str, object]:
        """The wire's *process*."""
        return {
            "id": self.id,
            "command": self.command[:SHOWN_CHARACTERS],
            "state": self.state,
            "exit_code": self.exit_code,
            "started_at": self.started_at,
            "duration_ms": self.duration_ms,
            "output_bytes": self.log.total,
            "terminal": None if self.terminal is None else [self.terminal.columns, self.terminal.rows],
        }

    def limit_time(self, timeout_s: float) -> None:
        self._deadline = self._loop.after(timeout_s, lambda: self.kill(TIMED_OUT))

    # Ending it -------------------------------------------------------------------------------------------------

    def kill(self, verdict: str = KILLED) -> None:
        """Kill everything of it. `verdict` becomes its state, unless that is settled."""
        self._verdict = self._verdict or verdict
        if self.gone or self._killing_since is not None:
            return
        self._killing_since = time.monotonic()
        self._kill_round(0.001)

    def terminate(self, grace_s: float) -> None:
        """Ask everything of it to end, and kill what has not after `grace_s`."""
        self._verdict = self._verdict or KILLED
        if self.gone or self.orphaned:
            return
        # A shell that somebody types into ends when its terminal hangs up, and only then.
        terminate_below(self.keeper.pid, hangs_up=self.terminal is not None)
        if self._grace is not None:
            self._grace.cancel()
        self._grace = self._loop.after(grace_s, self.kill)

    def _kill_round(self, delay_s: float) -> None:
        if self.gone or self.orphaned:
            return
        if kill_below(self.keeper.pid):
            self._empty_rounds = 0
        else:
            self._empty_rounds += 1
            if self._empty_rounds >= _EMPTY_ROUNDS:
                # Nothing is below it, so it should have ended; whatever keeps it, it is of no more use.
                send_signal(self.keeper.pid, signal.SIGKILL)
        if self._killing_since is not None and time.monotonic() - self._killing_since > GIVE_UP_S:
            self.give_up()
        self._loop.after(delay_s, lambda: self._kill_round(min(2 * delay_s, 1.0)))

    def give_up(self) -> None:
        """Answer whoever waits for its end although something of it is still there."""
        self._settle()

    # What the keeper says --------------------------------------------------------------------------------------

    def _reported(self) -> None:
        while (report := self.keeper.report()) is not None:
            kind, value = report
            if kind == STARTED:
                _call(self.on_start)
            elif kind in {CANNOT_ENTER, CANNOT_START}:
                self._fail(value, in_folder=kind == CANNOT_ENTER)
            elif kind == ENDED:
                self._status = value
                if self._verdict is None:
                    self._settle()
            else:
                self._loop.unwatch(self.keeper.channel)
                return

    def _fail(self, error: int, *, in_folder: bool) -> None:
        for callback in tuple(self.on_failed):
            callback(error, in_folder)

    def end(self) -> None:
        """Its keeper is gone, and so is everything that was below it."""
        if self.gone:
            return
        self._reported()
        self._settle()
        self.gone = True
        for timer in (self._deadline, self._grace):
            if timer is not None:
                timer.cancel()
        self._loop.unwatch(self.keeper.channel)
        self._close_input()
        self._drain()
        for descriptor in (self.keeper.output, self.keeper.errors):
            self._loop.unwatch(descriptor)
        self.keeper.close()
        self.log.shrink()
        if self.errors is not None:
            self.errors.shrink()
        _call(self.on_gone)

    def _settle(self) -> None:
        if self.settled:
            return
        self._drain()
        self.settled = True
        self._ended = time.monotonic()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._verdict is not None or self._status is None:
            self.state = self._verdict or KILLED
        else:
            self.state = EXITED
            code = os.waitstatus_to_exitcode(self._status)
            self.exit_code = code if code >= 0 else 128 - code
        _call(self.on_settled)

    # What it prints --------------------------------------------------------------------------------------------

    def _printed(self) -> None:
        if self.terminal is not None:
            self._read_terminal()
            return
        for _ in range(READS_A_TURN):
            if len(self._read(READ_BYTES)) < READ_BYTES:
                return

    def _complained(self) -> None:
        for _ in range(READS_A_TURN):
            if len(self._read_errors(READ_BYTES)) < READ_BYTES:
                return

    def _drain(self) -> None:
        """Take what is in the pipes at this moment; of a writer that goes on, no more than that."""
        if self.terminal is not None:
            self._read_terminal()
            return
        for descriptor, read in ((self.keeper.output, self._read), (self.keeper.errors, self._read_errors)):
            if descriptor >= 0:
                _take(descriptor, read)

    def _read_terminal(self) -> None:
        """What it holds, which it does not count right; of a writer that goes on, so much at a time."""
        for _ in range(TERMINAL_READS_A_TURN):
            if not self._read(READ_BYTES):
                return

    def _read(self, limit: int) -> bytes:
        data = self._read_from(self.keeper.output, limit, self.keeper.close_output)
        if data:
            self.log.append(data)
            for callback in tuple(self.on_output):
                callback(data)
        return data

    def _read_errors(self, limit: int) -> bytes:
        data = self._read_from(self.keeper.errors, limit, self.keeper.close_errors)
        if self.errors is not None:
            self.errors.append(data)
        return data

    def _read_from(self, descriptor: int, limit: int, close: Callable[[], None]) -> bytes:
        """What is there; nothing also at the end, at which it is closed."""
        if descriptor < 0:
            return b""
        try:
            data = os.read(descriptor, limit)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._loop.unwatch(descriptor)
            close()
        return data

    # What it reads ---------------------------------------------------------------------------------------------

    @property
    def takes_input(self) -> bool:
        return self.keeper.input >= 0 and not self._input_eof

    @property
    def input_room(self) -> int:
        return INPUT_BYTES - len(self._input)

    def feed(self, data: bytes, *, eof: bool) -> None:
        """Give it input, which waits in memory until it is read. With `eof` nothing comes after it."""
        if not self.takes_input:
            return
        self._input += data
        if self.terminal is None:
            self._input_eof = eof
        elif eof:
            self._input += END_OF_INPUT
        self._write_input()

    def _write_input(self) -> None:
        descriptor = self.keeper.input
        if descriptor < 0:
            return
        try:
            while self._input:
                written = os.write(descriptor, self._input[:READ_BYTES])
                del self._input[:written]
        except BlockingIOError:
            self._loop.watch(descriptor, self._write_input, WRITE)
            return
        except OSError:
            self._close_input()
            return
        self._loop.unwatch(descriptor)
        if self._input_eof:
            self._close_input()

    def _close_input(self) -> None:
        self._input.clear()
        if self.keeper.input >= 0:
            self._loop.unwatch(self.keeper.input)
            self.keeper.close_input()


def _call(callbacks: list[Callable[[], None]]) -> None:
    """Each once: one that is taken out of the list by an earlier one is not called any more."""
    while callbacks:
        callbacks.pop(0)()


def _take(pipe: int, read: Callable[[int], bytes]) -> None:
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    left = int.from_bytes(count, sys.byteorder)
    while left > 0 and (data := read(min(left, READ_BYTES))):
        left -= len(data)
