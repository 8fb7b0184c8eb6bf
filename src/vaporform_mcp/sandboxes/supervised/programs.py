"""Which programs for development a sandbox has, and of which version."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.sandboxes.supervised.commands import Commands

__all__ = ["ASKED", "ask_versions"]

_ASK_S = 20.0
_EACH_S = 8

_LONG_OPTION = (
    *("python3", "node", "npm", "git", "gcc", "clang", "make", "cmake", "cargo", "rustc", "ruby", "php", "uv", "pnpm"),
    *("yarn", "bun", "deno", "mvn", "gradle", "dotnet", "rg", "jq", "curl", "sqlite3"),
)
ASKED = {**dict.fromkeys(_LONG_OPTION, "--version"), "go": "version", "java": "-version"}

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NUMBER = re.compile(r"\d+(?:\.\d+)+[\w.+-]*|\d+")


async def ask_versions(sandbox: Commands, *, path: str | None, cwd: str) -> Mapping[str, str]:
    """Each that is found, with its version, or "" where it does not say; empty where nobody can be asked.

    All are asked at once, in one command in `cwd`. None for `path` is what commands have.
    """
    lines = [
        f'command -v {name} >/dev/null && {{ printf "{name}\\t%s\\n" "$(timeout {_EACH_S} {name} {option} 2>&1 '
        f'</dev/null | head -n 1)" & }}'
        for name, option in ASKED.items()
    ]
    # Nothing to ask the network about, and nothing to leave in the workspace.
    command = Command(text="\n".join([*lines, "wait"]), cwd=cwd, env={} if path is None else {"PATH": path})
    try:
        said = await sandbox.ask_program(command, within_s=_ASK_S)
    except VaporformError:
        return {}
    found: dict[str, str] = {}
    for line in said.decode(errors="replace").splitlines():
        name, tab, version = line.partition("\t")
        if tab and name in ASKED:
            number = _NUMBER.search(_COLOUR.sub("", version))
            found[name] = number[0] if number else ""
    return {name: found[name] for name in ASKED if name in found}
