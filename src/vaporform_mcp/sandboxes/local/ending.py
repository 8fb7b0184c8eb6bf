"""Ending a sandbox, and knowing that every process of it is gone."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import anyio

from vaporform_mcp.errors import SandboxUnavailable, VaporformError
from vaporform_mcp.sandboxes.local.client import Connection
from vaporform_mcp.sandboxes.local.layout import Folder

__all__ = ["Supervisor", "end", "note", "noted", "noted_pid"]

END_S = 5.0
KILL_S = 10.0
ASK_S = 1.0

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Supervisor:
    """A sandbox's first process, held so that its number cannot come to mean another.

    When it is gone, all are, or are about to be: see `sweeping.py` for a sandbox without a namespace of its own.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def held(cls, pid: int) -> Supervisor | None:
        """None where there is no such process, or this system cannot hold one."""
        try:
            return cls(os.pidfd_open(pid)) if pid > 1 else None
        except OSError:
            return None

    async def ended(self, *, within_s: float) -> bool:
        """Whether it has ended, or does within that time."""
        with anyio.move_on_after(within_s) as waited:
            await anyio.wait_readable(self._descriptor)
        return not waited.cancelled_caught

    async def kill(self) -> None:
        """Raises `SandboxUnavailable` where it does not go."""
        with suppress(ProcessLookupError):
            # Asked first, a guard can still end what its supervisor leaves; a supervisor with namespaces needs none.
            signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)
            if await self.ended(within_s=ASK_S):
                return
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        if not await self.ended(within_s=KILL_S):
            raise SandboxUnavailable(
                "the sandbox's processes do not end",
                hint="Something they wait for on this machine hangs (a disk, a network file system); repeat later.",
            )

    def close(self) -> None:
        os.close(self._descriptor)


async def end(connection: Connection) -> None:
    """Ask the sandbox to end, kill it where it does not, and come back when it is gone. `serve` must be running.

    Raises:
        SandboxUnavailable: it cannot be ended.
    """
    supervisor = Supervisor.held(connection.hello.pid)
    try:
        with suppress(VaporformError):
            await connection.request("end", within_s=END_S)
        if supervisor is not None:
            if not await supervisor.ended(within_s=END_S):
                await supervisor.kill()
            return
        with anyio.move_on_after(END_S) as waited:
            await connection.wait_closed()
        if waited.cancelled_caught:
            raise SandboxUnavailable("the sandbox does not end", hint="End its processes by hand, or try again later.")
    finally:
        connection.close()
        if supervisor is not None:
            supervisor.close()


def note(folder: Folder, pid: int) -> None:
    """Write down which process the supervisor is, for when it no longer answers."""
    written = {"pid": pid, "started": _start_time(pid), "boot": _boot()}
    temporary = folder.pid.with_suffix(".new")
    temporary.write_text(json.dumps(written), encoding="ascii")
    temporary.replace(folder.pid)


def noted(folder: Folder) -> Supervisor | None:
    """The process that was written down, if it still is that one."""
    try:
        pid = int(json.loads(folder.pid.read_bytes())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    supervisor = Supervisor.held(pid)
    # Looked at once it is held: before, the number could still pass on.
    if supervisor is not None and noted_pid(folder) != pid:
        supervisor.close()
        return None
    return supervisor


def noted_pid(folder: Folder) -> int | None:
    """Its number, as long as nobody else can have got it."""
    try:
        written = json.loads(folder.pid.read_bytes())
        pid, started, boot = int(written["pid"]), written["started"], written["boot"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if started is not None and boot == _boot() and started == _start_time(pid) else None


def _start_time(pid: int) -> int | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(line.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
