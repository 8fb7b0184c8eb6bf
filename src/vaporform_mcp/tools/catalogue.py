"""Which tools there are, and which of them a client is offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from vaporform_mcp.tools import commands, completion, files, restoring, snapshots, travel, workspaces
from vaporform_mcp.tools.spec import ToolSpec

__all__ = ["Profile", "offered"]

Profile = Literal["core", "standard", "all"]

_ALL = {
    spec.name: spec
    for spec in (
        *files.TOOLS,
        *commands.TOOLS,
        *workspaces.TOOLS,
        *travel.TOOLS,
        *restoring.TOOLS,
        *completion.TOOLS,
        *snapshots.TOOLS,
    )
}

_CORE = ("write_to_file", "read_file", "execute_command", "attempt_completion")

_STANDARD = (
    "open_workspace",
    "write_to_file",
    "read_file",
    "replace_in_file",
    "list_files",
    "search_files",
    "execute_command",
    "check_process",
    "stop_process",
    "get_preview_url",
    "list_workspaces",
    "history",
    "restore",
    "attempt_completion",
)

_PROFILES: Mapping[Profile, Sequence[str]] = {
    "core": _CORE,
    "standard": _STANDARD,
    "all": (*_STANDARD, "diff", "checkpoint", "delete_workspace", "snapshots"),
}


def offered(profile: Profile) -> Mapping[str, ToolSpec]:
    """The profile's tools by name, in the order in which they are listed."""
    return {name: _ALL[name] for name in _PROFILES[profile]}
