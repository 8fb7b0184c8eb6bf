"""A sandbox without namespaces: how the supervisor and its commands are confined, in the order that this takes."""

from __future__ import annotations

import _thread
import errno
import os
import signal
import socket
import time

from . import dropping, filtering, kernel, landlock
from .belonging import OwnListeners
from .broker import Broker
from .calls import MACHINES
from .guard import fork_guarded
from .places import Places
from .processes import Processes
from .selftest import examine
from .sockets import Sockets
from .spawner import Spawner

__all__ = ["Confinement", "Unconfined"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from .config import Config, Restricted
    from .loop import Loop

    T = TypeVar("T")

REST_S = 0.005
WAKE_S = 0.2
LOWEST_ABI = 3
"""Before it, files may be emptied by their names; those of another user cannot."""


class Unconfined(Exception):
    """It cannot be had on this machine; the text says why, in one line."""


class Confinement:
    """Entered when it is made, by the supervisor's main thread, before there are others.

    This thread sees the sandbox's files alone from then on. Commands are started by a second one, which is confined
    as they are; further ones answer what the kernel asks about their system calls.
    """

    def __init__(self, config: Config, restricted: Restricted, loop: Loop) -> None:
        """Raises `Unconfined`."""
        self.own = OwnListeners()
        self.spared: set[int] = set()
        """Children of the supervisor that are no commands."""
        self.egress = None if restricted.egress is None else socket.socket(fileno=restricted.egress)
        machine = os.uname().machine
        if machine not in MACHINES:
            raise Unconfined(f"machine: {machine} is not known")
        _become(restricted)
        self._pass_word = tuple(int.from_bytes(os.urandom(4), "little") for _ in range(4))
        try:
            fork_guarded()
            self._supervisor = os.getpid()
            self._processes = Processes(self.spared)
            self._divide(config, restricted, machine, loop)
        except (RuntimeError, BlockingIOError):
            raise Unconfined("shortage: no further process or thread can be started") from None
        failure = examine(self._spawner.do, config.restricted is not None and restricted.network == "host")
        if failure:
            raise Unconfined(f"self-test: {failure}")
        if self.scoped:
            kernel.reach_all_by(self._signal_all)

    def _divide(self, config: Config, restricted: Restricted, machine: str, loop: Loop) -> None:
        """Confine this thread, and start the others, each as it is to be."""
        abi, rules = _enter_files(config, restricted)
        broker = self._broker(restricted, loop)
        # What is sent to the process is for the main thread alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._spawner = Spawner()
        self.scoped, listener = self._spawner.do(lambda: self._enter_calls(machine, abi, rules, restricted))
        broker.serve(listener)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def start(self, work: Callable[[], T]) -> T:
        """Do `work`, which forks a process for a command, where its child is confined."""
        return self._spawner.do(work)

    def owns(self, pid: int) -> bool:
        """Whether the process is one of the sandbox."""
        return self._processes.owns(pid)

    def bereaved(self) -> None:
        """What a process of commands' own domain does when the supervisor is gone; it does not return."""
        if self.scoped:
            # All at one moment, whatever keepers they had or lost; Landlock keeps it from everything else.
            kernel.send_signal(-1, signal.SIGKILL)
        else:
            # Every keeper does so for its own; one that a command stopped at this very moment is woken by the others.
            until = time.monotonic() + WAKE_S
            while kernel.kill_below(os.getpid(), signal_by=self._kill_unasked) or time.monotonic() < until:
                self._wake_keepers()
                _reap()
        os._exit(0)

    def _wake_keepers(self) -> None:
        # Those of the supervisor's session, which it has to itself.
        if os.getsid(0) == self._supervisor:
            for name in os.listdir("/proc"):
                if name.isdigit() and kernel.session_of(int(name)) == self._supervisor:
                    self._kill_unasked(int(name), signal.SIGCONT)

    def _kill_unasked(self, pid: int, number: int) -> None:
        try:
            filtering.kill_by(self._pass_word, pid, number)
        except OSError:
            return  # it is gone

    def _signal_all(self, number: int) -> None:
        # From the spawner's domain this reaches all commands and keepers, and nothing else.
        try:
            self._spawner.do(lambda: os.kill(-1, number))
        except ProcessLookupError:
            return

    def _enter_calls(self, machine: str, abi: int, rules: landlock.Rules, restricted: Restricted) -> tuple[bool, int]:
        try:
            scoped = rules.wall_in(abi)
            code = filtering.program(
                machine,
                _thread.get_native_id(),
                pass_word=None if scoped else self._pass_word,
                host_network=restricted.network == "host",
            )
            return scoped, filtering.install(code)
        except OSError as error:
            raise Unconfined(f"seccomp: {error}") from None

    def _broker(self, restricted: Restricted, loop: Loop) -> Broker:
        loop.accept_calls()
        places = Places(restricted.write)
        open_ports: frozenset[int] = frozenset()
        if self.egress is not None and restricted.network == "internet":
            open_ports = restricted.open_ports | {self.egress.getsockname()[1]}
        free = restricted.network == "host"
        sockets = Sockets(loop, self.own, places, open_ports=open_ports, free=free, replacing=restricted.addfd)
        return Broker(places, sockets, self._processes)


def _become(restricted: Restricted) -> None:
    try:
        if os.geteuid() == 0:
            if not restricted.uid:
                raise Unconfined("user: commands of a server that is root need a user of their own")
            dropping.become(restricted.uid)
            kernel.forbid_inspection()
        dropping.forbid_new_privileges()
    except OSError as error:
        raise Unconfined(f"user: {error}") from None


def _enter_files(config: Config, restricted: Restricted) -> tuple[int, landlock.Rules]:
    try:
        abi = landlock.supported_abi()
    except OSError as error:
        meaning = {
            errno.ENOSYS: "the kernel is built without it",
            errno.EOPNOTSUPP: "it is switched off at the start of the kernel",
            errno.EPERM: "a filter of the container denies it",
        }
        raise Unconfined(f"landlock: {meaning.get(error.errno or 0, error)}") from None
    if restricted.abi is not None:
        abi = min(abi, restricted.abi)
    if abi < LOWEST_ABI and restricted.uid is None:
        raise Unconfined(f"landlock: version {abi} is too old, {LOWEST_ABI} is needed")
    try:
        rules = landlock.Rules(restricted.read, [*restricted.write, *_existing(config.spool_dir)])
        rules.enter(abi)
    except OSError as error:
        raise Unconfined(f"landlock: {error}") from None
    return abi, rules


def _existing(folder: str) -> list[str]:
    return [folder] if os.path.isdir(folder) else []


def _reap() -> None:
    """Collect what has ended, for a moment."""
    time.sleep(REST_S)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return
