"""What a sandbox is to be, from the settings and the workspace's spec; and telling one recipe from another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaporform_mcp import __version__
from vaporform_mcp.sandboxes.local.bubblewrap import Bind, Bubblewrap, Shape, Word, arguments, digest
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.fields import JsonValue
from vaporform_mcp.sandboxes.local.inside.wire import PROTOCOL
from vaporform_mcp.sandboxes.local.launch import Interpreter
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.limits import MAX_COMMANDS, limits_of
from vaporform_mcp.types import Network

__all__ = ["Fingerprint", "Recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a supervisor was started with, as it tells in its greeting.

    `policy` names the limits and the network it has, `shape` everything; `start` counts the starts of this sandbox,
    `files` is the birth of the folder shown as /workspace.
    """

    policy: str
    shape: str
    start: int
    files: str

    def __str__(self) -> str:
        return f"{self.policy}.{self.shape}.{self.start}.{self.files}"

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Of a greeting; one that no server of ours sent is a fingerprint that equals no other."""
        match text.split("."):
            case [policy, shape, start, files] if start.isdecimal() and len(start) < 12:
                return cls(policy=policy, shape=shape, start=int(start), files=files)
            case _:
                pass
        return cls(policy="", shape="", start=0, files="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything needed to start a sandbox. `environment` is its commands'; `contents` and `binds` are shown."""

    config: LocalConfig
    network: Network
    bubblewrap: Bubblewrap
    interpreter: Interpreter
    seccomp: bytes
    shell: str
    environment: Mapping[str, str]
    binds: Sequence[Bind]
    contents: Mapping[str, bytes]

    def words(self, folder: Folder, listen: int, settings: int) -> list[Word]:
        """Bubblewrap's arguments, with the descriptors that the supervisor finds its socket and settings at."""
        return arguments(
            Shape(
                files=str(folder.files),
                home=str(folder.home),
                own_network=self.network != "host",
                tmp_bytes=self.config.tmp_mb << 20,
                binds=[*self.interpreter.binds, *self.binds],
                shell=self.shell,
                contents=self.contents,
                seccomp=self.seccomp,
                environment=self.interpreter.environment,
                command=self.interpreter.command(listen, settings),
            )
        )

    def fingerprint(self, folder: Folder, *, start: int, files: str, dropped: bool) -> Fingerprint:
        limits = limits_of(self.config, own_user=dropped)
        policy = digest(self.network, sorted(limits.items()), self.config.tmp_mb, self.seccomp, dropped)
        words = self.words(folder, -1, -1)
        shape = digest(
            __version__,
            PROTOCOL,
            self.bubblewrap.version,
            words,
            sorted(self.environment.items()),
            self.config.linger_s,
        )
        return Fingerprint(policy=policy, shape=shape, start=start, files=files)

    def settings(self, folder: Folder, fingerprint: Fingerprint, *, dropped: bool) -> bytes:
        """What the supervisor reads when it starts."""
        settings: Mapping[str, JsonValue] = {
            "workspace": folder.workspace_id,
            "epoch": folder.epoch,
            "config": str(fingerprint),
            "linger_s": self.config.linger_s,
            "env": dict(self.environment),
            "shell": self.shell,
            "limits": dict(limits_of(self.config, own_user=dropped)),
            "max_processes": MAX_COMMANDS,
            "outside_only": True,
        }
        return json.dumps(settings).encode()
