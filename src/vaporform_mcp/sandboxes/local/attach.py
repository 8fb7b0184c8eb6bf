"""Attaching to a workspace's sandbox: the one that runs, or one that is started for it."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local import cgroups, ending, identity, layout, probe, sweeping
from vaporform_mcp.sandboxes.local.cgroups import Cgroup
from vaporform_mcp.sandboxes.local.client import GREETING_S, Absent, Connection, Hello, Hung, connect
from vaporform_mcp.sandboxes.local.config import Level
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.locking import locked
from vaporform_mcp.sandboxes.local.recipe import Fingerprint, Recipe
from vaporform_mcp.sandboxes.supervised.fields import Malformed
from vaporform_mcp.sandboxes.supervised.inside.wire import PROTOCOL

__all__ = ["Attached", "attach", "finish", "level_of_running"]

log = logging.getLogger(__name__)

START_S = 20.0
"""How long a sandbox may take from its first process to its greeting, on a machine that is busy."""

_ASK_S = 5.0
_TRIES = 5
_LOG_BYTES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Attached:
    """A connection that is being served, and what its supervisor was started with."""

    connection: Connection
    fingerprint: Fingerprint


async def attach(folder: Folder, recipe: Recipe, tasks: TaskGroup) -> Attached:
    """The sandbox of `folder`, started if need be. `tasks` must run for as long as the connection is used.

    Raises:
        SandboxUnavailable: it cannot be started, or one that cannot be used is in the way.
    """
    for _ in range(_TRIES):
        try:
            found = await _open(folder, tasks)
        except Absent:
            started = await _start(folder, recipe, tasks)
            if started is not None:
                return started
        except Hung:
            await _end_hung(folder)
        else:
            try:
                if await _suits(found, folder, recipe):
                    return Attached(found, Fingerprint.parse(found.hello.config))
            except BaseException:
                found.close()
                raise
            await _replace(folder, found, tasks)
    raise SandboxUnavailable(
        "the sandbox ends again and again while it is attached to",
        hint="Repeat the call. If it goes on, `vaporform-mcp doctor` says what is wrong.",
    )


async def level_of_running(folder: Folder) -> Level | None:
    """The level of the sandbox that runs; None where none does, or none that greets."""
    try:
        found = await connect(folder)
    except (Absent, Hung):
        return None
    found.close()
    return Fingerprint.parse(found.hello.config).level


async def finish(folder: Folder, tasks: TaskGroup, *, then: Callable[[], None] | None = None) -> None:
    """End the sandbox of `folder` if one runs, whatever its state; do `then` before another can be started.

    Raises:
        SandboxUnavailable: it cannot be ended.
    """
    async with locked(folder):
        try:
            connection = await _open(folder, tasks)
        except Absent:
            pass
        except Hung:
            await _kill_noted(folder)
        else:
            await ending.end(connection)
        await sweeping.sweep(folder)
        if then is not None:
            then()


async def _open(folder: Folder, tasks: TaskGroup, within_s: float = GREETING_S) -> Connection:
    connection = await connect(folder, within_s=within_s)
    tasks.start_soon(connection.serve)
    return connection


async def _suits(found: Connection, folder: Folder, recipe: Recipe) -> bool:
    """Whether to use what runs. Where the settings have changed since, other servers and its processes come first."""
    hello = found.hello
    files = layout.birth(folder.files)
    if (hello.workspace_id, hello.epoch) != (folder.workspace_id, folder.epoch) or files is None:
        return False
    if hello.protocol != PROTOCOL:
        if hello.attached > 1:
            raise SandboxUnavailable(
                "this workspace's sandbox is in use by another version of this server",
                hint="Close the other clients that use it, or let them start the same version, and repeat the call.",
            )
        return False
    runs = Fingerprint.parse(hello.config)
    if runs.level == "restricted" and recipe.config.isolation == "namespaces" and hello.attached > 1:
        raise SandboxUnavailable(
            "this workspace's sandbox is in use by another server, at a level of isolation that the settings refuse",
            hint="Close the other clients that use it, or set VAPORFORM_LOCAL__ISOLATION to the same value for all.",
        )
    dropped = identity.choose(folder) is not None
    wanted = recipe.fingerprint(folder, start=runs.start, files=files, dropped=dropped)
    if runs == wanted or runs.files != wanted.files:
        return runs == wanted
    # A folder of tools more or less is worth no process that runs; a limit or the network is.
    if hello.attached > 1 or (runs.policy == wanted.policy and await _is_busy(found)):
        log.info("sandbox %s-%d goes on as other settings made it", folder.workspace_id, folder.epoch)
        return True
    return False


async def _is_busy(found: Connection) -> bool:
    with suppress(Malformed):
        reply = await found.request("list", within_s=_ASK_S)
        return any(one.text("state") == "running" for one in reply.fields.objects("processes"))
    return False


async def _replace(folder: Folder, found: Connection, tasks: TaskGroup) -> None:
    """End the sandbox that was found, unless somebody else has meanwhile."""
    found.close()
    async with locked(folder):
        try:
            connection = await _open(folder, tasks)
        except (Absent, Hung):
            return
        if _same(connection.hello, found.hello):
            await ending.end(connection)
        connection.close()


def _same(one: Hello, other: Hello) -> bool:
    return (one.pid, one.config) == (other.pid, other.config)


async def _end_hung(folder: Folder) -> None:
    async with locked(folder):
        try:
            (await connect(folder)).close()
        except Absent:
            return
        except Hung:
            await _kill_noted(folder)


async def _kill_noted(folder: Folder) -> None:
    supervisor = ending.noted(folder)
    if supervisor is None:
        raise SandboxUnavailable(
            "this workspace's sandbox hangs, and its processes are not known",
            hint="End the workspace's processes by hand, or restart the machine.",
        )
    try:
        await supervisor.kill()
    finally:
        supervisor.close()


async def _start(folder: Folder, recipe: Recipe, tasks: TaskGroup) -> Attached | None:
    """None where there is one to attach to after all: another server was quicker."""
    async with locked(folder):
        try:
            (await connect(folder)).close()
        except Absent:
            return await _launch(folder, recipe, tasks)
        except Hung:
            pass
    return None


async def _launch(folder: Folder, recipe: Recipe, tasks: TaskGroup) -> Attached:
    layout.create(folder)
    uid = identity.choose(folder)
    # What a supervisor that was killed could not take with it.
    await sweeping.sweep(folder)
    try:
        await recipe.make_ready(folder, uid)
        files = layout.birth(folder.files) or ""
        fingerprint = recipe.fingerprint(folder, start=layout.next_start(folder), files=files, dropped=uid is not None)
        with layout.listen(folder) as listener:
            cgroup = cgroups.make(folder.root.name, recipe.config)
            started = recipe.start(folder, fingerprint, uid=uid, cgroup=cgroup, listener=listener.fileno())
    except OSError as error:
        raise probe.cannot_start(error) from error
    tasks.start_soon(_reap, started.process, cgroup)
    try:
        return Attached(await _greeted(folder, tasks), fingerprint)
    except Absent:
        layout.forget_start(folder, fingerprint.start)
        raise probe.explain(_said(folder)) from None
    except Hung:
        supervisor = ending.Supervisor.held(started.supervisor_pid() or 0)
        if supervisor is not None:
            await supervisor.kill()
            supervisor.close()
        raise probe.explain(_said(folder)) from None
    finally:
        if pid := started.supervisor_pid():
            with suppress(OSError):  # only for when it hangs some day
                ending.note(folder, pid)
        started.close()


async def _greeted(folder: Folder, tasks: TaskGroup) -> Connection:
    # To the end even if whoever asked has given up: half a start would be in the way of the next.
    with anyio.move_on_after(START_S, shield=True):
        return await _open(folder, tasks, START_S)
    raise Hung


def _said(folder: Folder) -> str:
    try:
        with folder.log.open("rb") as source:
            return source.read(_LOG_BYTES).decode(errors="replace")
    except OSError:
        return ""


async def _reap(process: subprocess.Popen[bytes], cgroup: Cgroup | None) -> None:
    """Wait for bubblewrap's outer process, so that neither it nor its cgroup stays while we live."""
    supervisor = ending.Supervisor.held(process.pid)
    try:
        if supervisor is not None:
            await supervisor.ended(within_s=float("inf"))
            process.wait()
    finally:
        if supervisor is not None:
            supervisor.close()
        if cgroup is not None:
            cgroup.remove()
        # It goes on when we end; Popen would complain about that.
        process.returncode = process.returncode or 0
