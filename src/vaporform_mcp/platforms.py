"""Which operating systems there can be local sandboxes on."""

from __future__ import annotations

import sys

from vaporform_mcp.errors import SandboxUnavailable

__all__ = ["check_platform"]


def check_platform() -> None:
    """Raises `SandboxUnavailable` where there can be no local sandbox at all."""
    if sys.platform == "linux":
        return
    if sys.platform == "win32":
        raise SandboxUnavailable(
            "Windows itself cannot isolate commands as local sandboxes need it",
            hint="Run the server in WSL 2, which can: configure the client with the command `wsl` and the arguments "
            "`-- vaporform-mcp`, after `pipx install vaporform-mcp` inside WSL. Or use another provider, such as "
            "Daytona.",
        )
    raise SandboxUnavailable(
        "local sandboxes need Linux; this system has no namespaces that isolate commands",
        hint="Run the server in a Linux virtual machine or container, or use another provider, such as Daytona.",
    )
