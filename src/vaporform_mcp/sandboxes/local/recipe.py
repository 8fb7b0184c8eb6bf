"""What a sandbox is to be, from the settings and the workspace's spec; and telling one recipe from another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vaporform_mcp.sandboxes.local.cgroups import Cgroup
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.launch import Started
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.limits import MAX_COMMANDS
from vaporform_mcp.sandboxes.supervised.fields import JsonValue

__all__ = ["RESTRICTED", "Fingerprint", "Recipe", "supervisor_settings"]

RESTRICTED = "restricted-"
"""What the policy of a sandbox at that level begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a supervisor was started with, as it tells in its greeting.

    `policy` names the level, the limits and the network it has, `shape` everything; `start` counts the starts of this
    sandbox, `files` is the birth of the folder that is the workspace.
    """

    policy: str
    shape: str
    start: int
    files: str

    def __str__(self) -> str:
        return f"{self.policy}.{self.shape}.{self.start}.{self.files}"

    @property
    def level(self) -> Level:
        return "restricted" if self.policy.startswith(RESTRICTED) else "namespaces"

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Of a greeting; one that no server of ours sent is a fingerprint that equals no other."""
        match text.split("."):
            case [policy, shape, start, files] if start.isdecimal() and len(start) < 12:
                return cls(policy=policy, shape=shape, start=int(start), files=files)
            case _:
                pass
        return cls(policy="", shape="", start=0, files="")


class Recipe(Protocol):
    """Everything needed to start a sandbox of one level."""

    @property
    def config(self) -> LocalConfig: ...

    @property
    def level(self) -> Level: ...

    def fingerprint(self, folder: Folder, *, start: int, files: str, dropped: bool) -> Fingerprint:
        """`dropped`: its commands run as a user of their own on the host."""
        ...

    async def make_ready(self, folder: Folder, uid: int | None) -> None:
        """Make what it needs in its folder, for the user that commands run as. Only under the folder's lock.

        Raises:
            SandboxUnavailable: this cannot be had.
            OSError: the disk refuses it.
        """
        ...

    def start(
        self, folder: Folder, fingerprint: Fingerprint, *, uid: int | None, cgroup: Cgroup | None, listener: int
    ) -> Started:
        """Start it; `listener` is the descriptor on which it is to be attached to. Raises `OSError`."""
        ...


def supervisor_settings(
    folder: Folder,
    fingerprint: Fingerprint,
    config: LocalConfig,
    environment: Mapping[str, str],
    limits: Mapping[str, int],
    more: Mapping[str, JsonValue],
) -> bytes:
    """What the supervisor reads when it starts. `environment` is its commands' and names their shell."""
    settings: Mapping[str, JsonValue] = {
        "workspace": folder.workspace_id,
        "epoch": folder.epoch,
        "config": str(fingerprint),
        "linger_s": config.linger_s,
        "env": dict(environment),
        "shell": environment["SHELL"],
        "limits": dict(limits),
        "max_processes": MAX_COMMANDS,
        **more,
    }
    return json.dumps(settings).encode()
