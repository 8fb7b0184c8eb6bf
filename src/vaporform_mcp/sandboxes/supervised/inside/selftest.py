"""Proof that a sandbox without namespaces holds, before anything runs in it: a child that tries to get out."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket

from .kernel import allow_inspection, forbid_inspection, parent_of, send_signal

__all__ = ["examine"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_S = 10.0
_MAX_BYTES = 4_096
_SHARED_MEMORY = "/dev/shm"  # noqa: S108


def examine(start: Callable[[Callable[[], int]], int], free: bool) -> str:
    """What is wrong, or nothing. `start` does its argument, a fork, where commands are started from; `free` says that
    the network is the host's.
    """
    told, tells = os.pipe()
    held, holds = os.pipe()
    outside = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        outside.bind(("127.0.0.1", 0))
        outside.listen(1)
        port = outside.getsockname()[1]
        me = os.getpid()
        child = start(lambda: _fork(me, port, tells, held, free=free))
        try:
            return _hear(told, child, me)
        finally:
            send_signal(child, signal.SIGKILL)
            os.waitpid(child, 0)
    finally:
        outside.close()
        for each in (told, tells, held, holds):
            os.close(each)


def _hear(told: int, child: int, me: int) -> str:
    poll = select.poll()
    poll.register(told, select.POLLIN)
    if not poll.poll(ANSWER_S * 1000):
        return "the child did not answer"
    said = os.read(told, _MAX_BYTES).decode("utf-8", "replace")
    if said != "done":
        return said
    # It waits still, and may not be inspected, as keepers are.
    if parent_of(child) != me or str(child) not in os.listdir("/proc"):
        return "/proc hides processes (hidepid)"
    return ""


def _fork(supervisor: int, port: int, tells: int, held: int, *, free: bool) -> int:
    child = os.fork()
    if child:
        return child
    try:
        # What cannot be inspected gets no answer from the broker; nothing else runs yet that could look.
        allow_inspection()
        said = _try_all(supervisor, port, free=free)
        forbid_inspection()
        os.write(tells, (said or "done").encode()[:_MAX_BYTES])
        # The supervisor holds the other end open, and kills us.
        os.read(held, 1)
    finally:
        os._exit(0)


def _try_all(supervisor: int, port: int, *, free: bool) -> str:
    attempts: dict[str, tuple[int, Callable[[], object]]] = {
        "a folder outside was opened": (errno.EACCES, lambda: os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))),
        "the supervisor was signalled": (errno.EPERM, lambda: os.kill(supervisor, 0)),
    }
    if not free:
        attempts["a port of another program was reached"] = (errno.ECONNREFUSED, lambda: _connect(port))
    try:
        for meaning, (refusal, attempt) in attempts.items():
            if not _is_refused(attempt, refusal):
                return meaning
        if os.path.isdir(_SHARED_MEMORY) and not _keeps_modes():
            return "the mode of a file outside was changed"
        _meet_ourselves()
    except OSError as error:
        return f"a call that is allowed failed: {error}"
    return ""


def _is_refused(attempt: Callable[[], object], refusal: int) -> bool:
    try:
        attempt()
    except OSError as error:
        if error.errno == refusal:
            return True
        raise
    return False


def _connect(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trying:
        trying.connect(("127.0.0.1", port))


def _keeps_modes() -> bool:
    path = f"{_SHARED_MEMORY}/vaporform-{os.urandom(8).hex()}"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        return True  # there is no place to try it at
    try:
        return _is_refused(lambda: os.chmod(path, 0o644), errno.EPERM)
    finally:
        os.unlink(path)


def _meet_ourselves() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.listen(1)
        _connect(listening.getsockname()[1])
