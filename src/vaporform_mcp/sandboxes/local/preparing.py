"""What every sandbox of this server is made from, looked up once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.platforms import check_platform
from vaporform_mcp.sandboxes.local import bubblewrap, launch, seccomp, toolchains
from vaporform_mcp.sandboxes.local.bubblewrap import HOME, Bind, Bubblewrap
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.launch import Interpreter
from vaporform_mcp.sandboxes.local.network import Egress
from vaporform_mcp.sandboxes.local.recipe import Recipe
from vaporform_mcp.sandboxes.local.toolchains import Toolchain
from vaporform_mcp.types import Network

__all__ = ["Prepared", "prepare"]

_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_HOST_NAMES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
_HOST_NAMES_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    config: LocalConfig
    bubblewrap: Bubblewrap
    interpreter: Interpreter
    seccomp: bytes
    toolchains: Sequence[Toolchain]
    egress: Egress

    @property
    def path(self) -> str:
        """The PATH of commands, but for the sandbox's own home."""
        system = toolchains.shown_anyway(self.config.host_environment.get("PATH", ""))
        folders = [*(one.path for one in self.toolchains), *system, *_SYSTEM_PATH]
        return ":".join(dict.fromkeys(folders))

    @property
    def binds(self) -> Sequence[Bind]:
        return [one.bind for one in self.toolchains]

    def recipe(self, network: Network, environment: Mapping[str, str]) -> Recipe:
        """For a sandbox with that network, whose commands get `environment` too."""
        base = {
            "PATH": f"{HOME}/.local/bin:{self.path}",
            "HOME": HOME,
            "USER": "user",
            "LOGNAME": "user",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TMPDIR": "/tmp",  # noqa: S108  # the sandbox's own
            "SHELL": _shell(),
        }
        return Recipe(
            config=self.config,
            network=network,
            bubblewrap=self.bubblewrap,
            interpreter=self.interpreter,
            seccomp=self.seccomp,
            shell=base["SHELL"],
            environment={**base, **self.egress.environment(network), **environment},
            binds=self.binds,
            contents={**self.egress.contents(), **(_host_names() if network == "host" else {})},
        )


def prepare(config: LocalConfig) -> Prepared:
    """Takes some milliseconds, and the first time on a machine longer.

    Raises:
        SandboxUnavailable: this machine lacks something.
        InvalidArgument: a setting of toolchains or of the network has no meaning.
    """
    check_platform()
    launch.compile_supervisor()
    home = config.host_environment.get("HOME")
    return Prepared(
        config=config,
        bubblewrap=bubblewrap.find(),
        interpreter=launch.interpreter(Path(home) if home else None),
        seccomp=seccomp.filter_program(),
        toolchains=toolchains.discover(config.host_environment, config.toolchains, private=config.data_dir),
        egress=Egress(config),
    )


def _shell() -> str:
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"


def _host_names() -> dict[str, bytes]:
    """How names are resolved on the host."""
    found: dict[str, bytes] = {}
    for name in _HOST_NAMES:
        path = Path(name)
        if path.is_file():
            with path.open("rb") as source:
                found[name] = source.read(_HOST_NAMES_BYTES)
    return found
