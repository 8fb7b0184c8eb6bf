"""The table of commands and their keepers: starting, finding, and collecting what has ended."""

from __future__ import annotations

import os
import signal
from collections import deque

from .faults import Refused
from .keeper import MAX_MESSAGE_BYTES, Order, fork_keeper
from .kernel import kill_all_at_once, kill_below, send_signal
from .output import OutputLog
from .process import Process
from .terminal import Terminal

__all__ = ["Commands"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .config import Config
    from .confinement import Confinement
    from .keeper import Keeper
    from .loop import Loop

UNLISTED = "0"
"""The number of every command that the server runs for itself."""

IN_A_TERMINAL = {"TERM": "xterm-256color"}
"""Beside what all commands have; whoever reads along understands it."""

MAX_FINISHED = 50
MAX_SPOOLED = 20
"""Of the finished: the files of longer output together must not fill the sandbox's disk."""

SWEEP_S = 0.002
SWEEP_ANSWER_S = 0.5
SWEEP_SLOWEST_S = 1.0
REFILL_S = 0.02


class Commands:
    """Owns every child of the supervisor; others that fork, such as scans, register theirs with `adopt`."""

    def __init__(self, loop: Loop, config: Config, confinement: Confinement | None = None) -> None:
        self._loop = loop
        self._config = config
        self._confinement = confinement
        self._processes: dict[str, Process] = {}
        self._by_keeper: dict[int, Process] = {}
        self._others: dict[int, Callable[[], None]] = {}
        self._orphaned: list[Process] = []
        self._gone: deque[Process] = deque()
        self._spare: Keeper | None = None
        self._count = 0
        self._sweeping = False
        self._refilling = False

    def __iter__(self) -> Iterator[Process]:
        """Oldest first."""
        return iter(self._processes.values())

    @property
    def living(self) -> int:
        """Commands of which something is left."""
        return len(self._by_keeper)

    def find(self, number: str) -> Process:
        process = self._processes.get(number)
        if process is None:
            raise Refused("not_found", f"there is no process {number[:40]!r}", "List the processes to see which are.")
        return process

    def prepare(self) -> None:
        """Have a keeper ready for the next command; done when there is nothing else to do."""
        if not self._refilling and self._spare is None:
            self._refilling = True
            self._loop.when_quiet(self._refill)

    def start(
        self,
        *,
        command: str,
        cwd: str,
        env: dict[str, str],
        stdin: bool,
        confirm: bool,
        unlisted: bool = False,
        size: tuple[int, int] | None = None,
        apart: bool = False,
    ) -> Process:
        """Begin a command. It is in the table at once, unless `unlisted`; `on_failed` tells if it could not be
        started, and with `confirm` `on_start` that it has been. With a `size`, of columns and rows, it has a terminal;
        `apart`, its stderr is kept for itself.
        """
        if len(self._by_keeper) >= self._config.max_processes:
            raise Refused(
                "limit",
                f"{self._config.max_processes} commands run, or have left processes that run",
                "Stop those that are not needed any more.",
            )
        order = Order(
            program=self._config.shell,
            command=command,
            cwd=cwd,
            env={**self._config.env, **({} if size is None else IN_A_TERMINAL), **env},
            stdin=stdin,
            confirm=confirm,
            apart=apart,
        )
        terminal = None if size is None else Terminal(*size)
        keeper = self._order(order, terminal)
        if not unlisted:
            self._count += 1
        number = UNLISTED if unlisted else str(self._count)
        log = OutputLog(f"{self._config.spool_dir}/{number}.log")
        if not apart:
            keeper.close_errors()
        process = Process(self._loop, number, command, log, keeper, terminal)
        if not stdin and terminal is None:
            keeper.close_input()
        if not unlisted:
            self._processes[number] = process
        self._by_keeper[keeper.pid] = process
        process.on_gone.append(process.log.discard if unlisted else lambda: self._finished(process))
        # Not now: the fork would compete with the command's own start.
        process.on_settled.append(self.prepare)
        self._loop.after(REFILL_S, self.prepare)
        return process

    def forget(self, process: Process) -> None:
        """Take it out of the table, with its output."""
        self._processes.pop(process.id, None)
        process.log.discard()

    def adopt(self, pid: int, ended: Callable[[], None]) -> None:
        """Know a child that is no keeper; `ended` is called when it has been collected."""
        self._others[pid] = ended
        if self._confinement is not None:
            self._confinement.spared.add(pid)

    # Keepers ---------------------------------------------------------------------------------------------------

    def _order(self, order: Order, terminal: Terminal | None) -> Keeper:
        message = order.encode()
        spare = self._spare
        if spare is not None and terminal is None and len(message) <= MAX_MESSAGE_BYTES:
            self._spare = None
            if spare.tell(message):
                return spare
            spare.close()
        try:
            return self._fork(order, terminal)
        except OSError:
            if terminal is not None:
                terminal.let_go()
                os.close(terminal.near)
            raise Refused(
                "limit", "the machine cannot start another process", "Stop processes that are not needed."
            ) from None

    def _refill(self) -> None:
        self._refilling = False
        if self._spare is None:
            try:
                self._spare = self._fork()
            except OSError:
                return  # the next command tries again, and tells of it

    def _fork(self, order: Order | None = None, terminal: Terminal | None = None) -> Keeper:
        limits, confinement = self._config.limits, self._confinement
        if confinement is None:
            return fork_keeper(limits, order, terminal=terminal)
        return confinement.start(lambda: fork_keeper(limits, order, confinement.bereaved, terminal))

    # What has ended --------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Take note of every child that ended, or was stopped, since the last call."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                self._set_going(pid)
            else:
                self._ended(pid, status)

    def _set_going(self, pid: int) -> None:
        # A command may stop its keeper, which could then not tell how the command ended.
        if self._is_known(pid):
            send_signal(pid, signal.SIGCONT)

    def _is_known(self, pid: int) -> bool:
        return pid in self._by_keeper or pid in self._others or (self._spare is not None and self._spare.pid == pid)

    def _ended(self, pid: int, status: int) -> None:
        if (process := self._by_keeper.pop(pid, None)) is not None:
            if status == 0:
                process.end()
            else:
                process.orphaned = True
                self._orphaned.append(process)
                self._sweep()
        elif (ended := self._others.pop(pid, None)) is not None:
            if self._confinement is not None:
                self._confinement.spared.discard(pid)
            ended()
        elif self._spare is not None and self._spare.pid == pid:
            self._spare.close()
            self._spare = None
            self.prepare()

    def _sweep(self) -> None:
        """Kill what lost its keeper and so became our own child, and all below it, until nothing is left."""
        if not self._sweeping:
            self._sweeping = True
            self._loop.after(0, lambda: self._sweep_round(SWEEP_S))

    def _sweep_round(self, delay_s: float) -> None:
        if self._kill_orphans():
            if delay_s > SWEEP_ANSWER_S:
                # Something is stuck in the kernel. Nobody waits for that, but it is looked after.
                for process in self._orphaned:
                    process.give_up()
            self._loop.after(delay_s, lambda: self._sweep_round(min(2 * delay_s, SWEEP_SLOWEST_S)))
            return
        self._sweeping = False
        orphaned, self._orphaned = self._orphaned, []
        for process in orphaned:
            process.end()

    def _kill_orphans(self) -> int:
        spared = {*self._by_keeper, *self._others}
        if self._spare is not None:
            spared.add(self._spare.pid)
        return kill_below(os.getpid(), spared)

    def _finished(self, process: Process) -> None:
        self._gone.append(process)
        if len(self._gone) > MAX_SPOOLED:
            self._gone[-MAX_SPOOLED - 1].log.discard()
        if len(self._gone) > MAX_FINISHED:
            self.forget(self._gone.popleft())

    def kill_all(self) -> int:
        """Kill every descendant of the supervisor. Says how many there were."""
        kill_all_at_once()
        return kill_below(os.getpid())
