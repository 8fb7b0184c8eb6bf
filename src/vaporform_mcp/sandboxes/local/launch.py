"""Starting the sandbox's processes: bubblewrap, and in it the supervisor; or the supervisor by itself."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.sandboxes.local import unprivileged
from vaporform_mcp.sandboxes.local.bubblewrap import Bubblewrap, Source, Word, render
from vaporform_mcp.sandboxes.local.cgroups import Cgroup
from vaporform_mcp.sandboxes.local.interpreter import Interpreter, interpreter
from vaporform_mcp.sandboxes.supervised import inside

__all__ = ["Interpreter", "Started", "compile_supervisor", "interpreter", "memory_file", "start", "start_supervisor"]

_INFO_BYTES = 4096


@dataclass(slots=True)
class Started:
    """A first process that was just started: the supervisor, or bubblewrap.

    `info` is a file in which bubblewrap tells the process of the supervisor.
    """

    process: subprocess.Popen[bytes]
    info: int | None = None

    def supervisor_pid(self) -> int | None:
        """The supervisor's process on this host, once that is known; never waits."""
        if self.info is None:
            return self.process.pid
        try:
            pid = json.loads(os.pread(self.info, _INFO_BYTES, 0)).get("child-pid")
        except (ValueError, AttributeError):
            return None
        return pid if isinstance(pid, int) and pid > 1 else None

    def close(self) -> None:
        if self.info is not None:
            os.close(self.info)


def compile_supervisor() -> None:
    """Leave bytecode beside the supervisor's modules, which it cannot itself, where whoever installed us has not."""
    # Writable or not, and whatever fails: without it a sandbox starts slower, no worse.
    compileall.compile_dir(Path(inside.__file__ or "").parent, maxlevels=0, quiet=2)


def start(
    bubblewrap: Bubblewrap,
    words: Sequence[Word],
    *,
    uid: int | None,
    cgroup: Cgroup | None,
    log: Path,
    keep: Sequence[int],
) -> Started:
    """Run bubblewrap with these arguments, `keep` open in it, detached from us in every way.

    `uid`: the user that it runs as, where that is not ours; then it may be shown what that user could not reach.
    `cgroup`: entered first, where that is possible, and removed where nothing is started. Only on the event loop's
    thread, since the signal that some systems send when a parent ends goes by thread.

    Raises:
        OSError: not even the first program could be started.
    """
    with ExitStack() as opened:
        on_failure = opened.enter_context(ExitStack())
        if cgroup is not None:
            on_failure.callback(cgroup.remove)
        # No pipe: bubblewrap would hang half started if we ended before it wrote.
        info = os.memfd_create("vaporform-info", os.MFD_CLOEXEC)
        on_failure.callback(os.close, info)
        descriptors = [*keep, info]

        def descriptor(content: bytes) -> int:
            descriptors.append(opened.enter_context(memory_file(content)))
            return descriptors[-1]

        binds: list[str] = []

        def source(wanted: Source) -> str:
            if uid is None or not wanted.private:
                return wanted.path
            binds.append(wanted.path)
            return f"/run/{len(binds) - 1}"

        program = str(bubblewrap.path)
        if uid is not None and bubblewrap.folder is not None:
            shown = source(Source(str(bubblewrap.folder), private=True))
            program = f"{shown}/{bubblewrap.path.relative_to(bubblewrap.folder)}"
        argv = [program, "--info-fd", str(info), *render(words, source, descriptor)]
        if uid is not None:
            plan = descriptor(unprivileged.plan(uid, binds, argv))
            argv = [sys.executable, "-I", "-S", "-B", str(unprivileged.__file__), str(plan)]
        process = _run(argv, {}, cgroup, log, descriptors)
        on_failure.pop_all()
        return Started(process, info)


def start_supervisor(
    argv: Sequence[str], environment: Mapping[str, str], *, cgroup: Cgroup | None, log: Path, keep: Sequence[int]
) -> Started:
    """Run a supervisor by itself, as `start` runs bubblewrap. Raises `OSError`."""
    with ExitStack() as on_failure:
        if cgroup is not None:
            on_failure.callback(cgroup.remove)
        process = _run(argv, environment, cgroup, log, keep)
        on_failure.pop_all()
        return Started(process)


def _run(
    argv: Sequence[str], environment: Mapping[str, str], cgroup: Cgroup | None, log: Path, keep: Sequence[int]
) -> subprocess.Popen[bytes]:
    if cgroup is not None:  # before the user is changed, who could not
        argv = cgroup.entered_by(argv)
    with log.open("wb") as output:
        log.chmod(0o600)
        return subprocess.Popen(  # noqa: S603  # our own arguments, no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            pass_fds=keep,
            start_new_session=True,
            umask=0o022,
        )


@contextmanager
def memory_file(content: bytes) -> Generator[int]:
    """A descriptor from which `content` can be read, once."""
    descriptor = os.memfd_create("vaporform", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
