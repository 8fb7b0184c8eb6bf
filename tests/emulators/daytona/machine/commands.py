"""Commands that run once: their script goes to a shell's standard input, and their output comes back as one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO

from tests.emulators.daytona.machine.wire import DATA, Channel, Fields, Refusal, is_fields

__all__ = ["COMMAND_OPERATIONS", "environment", "shell"]

_CHUNK = 1 << 16
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def shell() -> str:
    return next(each for each in ("/usr/bin/zsh", "/usr/bin/bash", "/bin/bash", "/bin/sh") if os.path.exists(each))


def environment(fields: Fields) -> dict[str, str]:
    """The sandbox's own and what the request adds to it."""
    added = fields.get("envs")
    result = dict(os.environ)
    for name, value in added.items() if is_fields(added) else ():
        if not _NAME.fullmatch(name):
            raise Refusal(400, f"invalid environment variable name: {name}", "BAD_REQUEST")
        result[name] = str(value)
    return result


def _execute(channel: Channel, fields: Fields) -> object:
    command, cwd, timeout = fields.get("command"), fields.get("cwd"), fields.get("timeout")
    if not isinstance(command, str) or not command.strip():
        raise Refusal(400, "command cannot be empty", "BAD_REQUEST")
    env = environment(fields)
    limit = float(timeout) if isinstance(timeout, int) and timeout > 0 else None
    program = shell()
    try:
        process = subprocess.Popen(
            [program],
            cwd=os.path.join(os.getcwd(), str(cwd)) if cwd else None,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    except OSError as error:
        # The service blames the shell even where the folder is what is missing.
        channel.send(DATA, f"fork/exec {program}: {(error.strerror or '').lower()}".encode())
        return {"exitCode": -1}
    assert process.stdin is not None
    assert process.stdout is not None
    expired = threading.Event()

    def kill() -> None:
        expired.set()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # What has left the group may hold the pipe open; the answer does not wait for it.
        done.set()

    done = threading.Event()
    collected: list[bytes] = []
    threading.Thread(target=_feed, args=(process.stdin, command), daemon=True).start()
    threading.Thread(target=_collect, args=(process.stdout, collected, done), daemon=True).start()
    timer = threading.Timer(limit or 0, kill)
    timer.daemon = True
    if limit is not None:
        timer.start()
    done.wait()
    timer.cancel()
    if expired.is_set():
        threading.Thread(target=process.wait, daemon=True).start()
        raise Refusal(408, "command execution timeout", "PROCESS_EXECUTION_TIMEOUT")
    status = process.wait()
    for chunk in collected:
        channel.send(DATA, chunk)
    # Go says -1 of a process that a signal ended.
    return {"exitCode": status if status >= 0 else -1}


def _feed(stdin: IO[bytes], script: str) -> None:
    with suppress(OSError), stdin:
        stdin.write(script.encode("utf-8", "surrogateescape"))


def _collect(stdout: IO[bytes], into: list[bytes], done: threading.Event) -> None:
    with stdout:
        while chunk := os.read(stdout.fileno(), _CHUNK):
            into.append(chunk)
    done.set()


COMMAND_OPERATIONS = {"process.execute": _execute}
