"""What this machine is, and how it can be made to isolate commands."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Machine", "mend_isolation", "observe"]

_SYSCTLS = (
    "kernel.unprivileged_userns_clone",
    "user.max_user_namespaces",
    "kernel.apparmor_restrict_unprivileged_userns",
)
_ENOUGH_NAMESPACES = 28_633


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`container` names the runtime that this process is in, None outside one. `sysctls` are those that matter here."""

    system: str
    kernel: str
    distribution: str
    container: str | None
    is_wsl: bool
    sysctls: dict[str, str]

    def facts(self) -> Sequence[str]:
        where = [f"{self.system} {self.kernel}", self.distribution]
        where += [f"inside {self.container}"] if self.container else []
        where += ["inside WSL"] if self.is_wsl else []
        return [", ".join(filter(None, where)), *(f"{name} = {value}" for name, value in self.sysctls.items())]


def observe() -> Machine:
    """This machine; nothing is changed or started."""
    release = platform.release()
    return Machine(
        system=platform.system(),
        kernel=release,
        distribution=_distribution(),
        container=_container(),
        is_wsl="microsoft" in release.lower(),
        sysctls={name: value for name in _SYSCTLS if (value := _sysctl(name)) is not None},
    )


def mend_isolation(machine: Machine, bubblewrap: Path | None, *, said: str, hint: str) -> Sequence[str]:
    """Steps that let this machine isolate commands.

    `said` is why a sandbox could not be started and `hint` what helps in general. Where the kernel's or a container's
    rules are the reason, what the machine says of itself tells the exact steps.
    """
    steps: list[str] = []
    if sys.platform == "linux" and ("namespace" in said or "/proc" in said):
        steps = _container_steps(machine.container) if machine.container else _host_steps(machine, bubblewrap)
    return steps or ([hint] if hint else [])


def _host_steps(machine: Machine, bubblewrap: Path | None) -> list[str]:
    steps: list[str] = []
    if machine.sysctls.get("kernel.unprivileged_userns_clone") == "0":
        steps += _set("kernel.unprivileged_userns_clone", "1")
    if machine.sysctls.get("user.max_user_namespaces") == "0":
        steps += _set("user.max_user_namespaces", str(_ENOUGH_NAMESPACES))
    if machine.sysctls.get("kernel.apparmor_restrict_unprivileged_userns") == "1" and bubblewrap is not None:
        steps += _apparmor_steps(bubblewrap)
    return steps


def _set(name: str, value: str) -> list[str]:
    return [
        f"sudo sysctl -w {name}={value}",
        f"echo '{name} = {value}' | sudo tee -a /etc/sysctl.d/60-vaporform.conf   # also after a restart",
    ]


def _apparmor_steps(bubblewrap: Path) -> list[str]:
    """A profile for the very bubblewrap that is used, since AppArmor goes by its path."""
    profile = (
        "abi <abi/4.0>,\n"
        "include <tunables/global>\n"
        f'profile vaporform-bwrap "{bubblewrap}" flags=(unconfined) {{\n'
        "  userns,\n"
        "  include if exists <local/vaporform-bwrap>\n"
        "}"
    )
    return [
        "AppArmor keeps namespaces from programs that have no profile. Give the bubblewrap in use one:",
        f"sudo tee /etc/apparmor.d/vaporform-bwrap <<'EOF'\n{profile}\nEOF",
        "sudo apparmor_parser -r /etc/apparmor.d/vaporform-bwrap",
    ]


def _container_steps(container: str) -> list[str]:
    if container == "Podman":
        return ["podman run --security-opt seccomp=unconfined --security-opt unmask=ALL ..."]
    return [
        "Start the container with these options:",
        "docker run"
        + "".join(f" --security-opt {each}=unconfined" for each in ("seccomp", "apparmor", "systempaths"))
        + " ...",
    ]


def _container() -> str | None:
    if Path("/run/.containerenv").exists():
        return "Podman"
    if Path("/.dockerenv").exists():
        return "Docker"
    return None


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
