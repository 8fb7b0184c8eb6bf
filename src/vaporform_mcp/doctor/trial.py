"""A sandbox made for the examination alone, and what is seen inside it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from vaporform_mcp.doctor.report import Check, State
from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.base import Command, Provider, RunState, Sandbox, SandboxInfo
from vaporform_mcp.types import Phase, Spec

__all__ = ["Inside", "look_inside", "trial_sandbox"]

START_S = 60.0
ASK_S = 30.0
_CLEAN_UP_S = 20.0

_PAGE = "https://www.example.com/"
_FETCH = f"""\
if command -v curl >/dev/null; then exec curl -sS -o /dev/null --max-time 20 {_PAGE}; fi
if command -v python3 >/dev/null; then
  exec python3 -c 'import urllib.request; urllib.request.urlopen("{_PAGE}", timeout=20)'
fi
echo 'there is neither curl nor python3 inside'; exit 127"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a sandbox says of itself, and what was found of its network and its toolchains."""

    info: SandboxInfo
    network: Check
    toolchains: Check


@asynccontextmanager
async def trial_sandbox(provider: Provider) -> AsyncGenerator[Sandbox]:
    """A sandbox of no workspace, destroyed in the end.

    Raises:
        SandboxUnavailable: this machine cannot start one, or did not in time.
    """
    workspace_id = f"doctor-{secrets.token_hex(6)}"
    try:
        try:
            with anyio.fail_after(START_S):
                sandbox = await provider.acquire(Spec(provider=provider.name), workspace_id, 1, _ignore)
                await _say_hello(sandbox)
        except TimeoutError:
            raise SandboxUnavailable(f"a sandbox was not ready within {START_S:g} s") from None
        yield sandbox
    finally:
        with anyio.move_on_after(_CLEAN_UP_S, shield=True):
            await provider.destroy(workspace_id, 1)


async def look_inside(sandbox: Sandbox, *, online: bool) -> Inside:
    """What is to be seen inside that sandbox. Raises `SandboxUnavailable`, `SandboxLost`."""
    info = await sandbox.info()
    network = await _egress(sandbox, info) if online else _network(info)
    return Inside(info=info, network=network, toolchains=_toolchains(info))


async def _say_hello(sandbox: Sandbox) -> None:
    said = await sandbox.exec(Command(text="echo hello"), wait_s=ASK_S)
    if said.state is not RunState.EXITED or said.exit_code != 0 or said.head.strip() != b"hello":
        raise SandboxUnavailable("a sandbox was started, but a command in it does not run as it should")


def _network(info: SandboxInfo) -> Check:
    return Check(name="network", state=State.OK, finding=info.network, details=["--online sees whether it works"])


async def _egress(sandbox: Sandbox, info: SandboxInfo) -> Check:
    if info.network == "none":
        return Check(name="network", state=State.OK, finding=info.network)
    tried = await sandbox.exec(Command(text=_FETCH, timeout_s=ASK_S), wait_s=ASK_S + 5)
    if tried.exit_code == 0:
        return Check(name="network", state=State.OK, finding=f"{info.network}; a command inside reaches {_PAGE}")
    said = (tried.head + tried.tail).decode("utf-8", "replace").strip()[-400:]
    return Check(
        name="network",
        state=State.WARNING,
        finding=f"{info.network}; a command inside does not reach {_PAGE}",
        details=[said] if said else [],
        mend=[
            "See whether this machine itself reaches it. Behind a proxy, set HTTPS_PROXY in the server's environment.",
            "Where VAPORFORM_LOCAL__EGRESS_ALLOW is set, it has to name the domain.",
        ],
    )


def _toolchains(info: SandboxInfo) -> Check:
    if not info.toolchains:
        return Check(
            name="toolchains",
            state=State.WARNING,
            finding="no toolchain is seen inside",
            mend=["Install node or python3 on this machine, or name where they are in VAPORFORM_LOCAL__TOOLCHAINS."],
        )
    named = [f"{name} {version}" for name, version in info.toolchains.items()]
    return Check(name="toolchains", state=State.OK, finding=", ".join(named))


def _ignore(phase: Phase, percent: float) -> None:
    """The examination waits for the end alone."""
