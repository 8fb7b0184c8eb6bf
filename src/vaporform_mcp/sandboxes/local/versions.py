"""Which programs for development a sandbox has, and of which version."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.sandboxes.local.commands import Commands

__all__ = ["versions"]

_ASK_S = 20.0
_EACH_S = 8

_LONG_OPTION = (
    *("python3", "node", "npm", "git", "gcc", "clang", "make", "cmake", "cargo", "rustc", "ruby", "php", "uv", "pnpm"),
    *("yarn", "bun", "deno", "mvn", "gradle", "dotnet", "rg", "jq", "curl", "sqlite3"),
)
_ASKED = {**dict.fromkeys(_LONG_OPTION, "--version"), "go": "version", "java": "-version"}

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NUMBER = re.compile(r"\d+(?:\.\d+)+[\w.+-]*|\d+")


async def versions(sandbox: Commands, path: str) -> Mapping[str, str]:
    """Each program on that PATH, with its version, or "" where it does not say; empty where nobody could be asked.

    All are asked at once, in one command.
    """
    lines = [
        f'command -v {name} >/dev/null && {{ printf "{name}\\t%s\\n" "$(timeout {_EACH_S} {name} {option} 2>&1 '
        f'</dev/null | head -n 1)" & }}'
        for name, option in _ASKED.items()
    ]
    # Nothing to ask the network about, and nothing to leave in the workspace.
    command = Command(text="\n".join([*lines, "wait"]), cwd="/tmp", env={"PATH": path})  # noqa: S108  # inside
    try:
        said = await sandbox.ask_program(command, within_s=_ASK_S)
    except VaporformError:
        return {}
    found: dict[str, str] = {}
    for line in said.decode(errors="replace").splitlines():
        name, tab, version = line.partition("\t")
        if tab and name in _ASKED:
            number = _NUMBER.search(_COLOUR.sub("", version))
            found[name] = number[0] if number else ""
    return {name: found[name] for name in _ASKED if name in found}
