"""What every sandbox of this server is made from, looked up once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.platforms import check_platform
from vaporform_mcp.sandboxes.local import bubblewrap, certificates, launch, reach, seccomp, toolchains
from vaporform_mcp.sandboxes.local.bubblewrap import HOME, Bind, Bubblewrap
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.interpreter import Interpreter, interpreter
from vaporform_mcp.sandboxes.local.namespaced import NamespacedRecipe
from vaporform_mcp.sandboxes.local.network import Egress
from vaporform_mcp.sandboxes.local.recipe import Recipe
from vaporform_mcp.sandboxes.local.restricted import RestrictedRecipe
from vaporform_mcp.sandboxes.local.toolchains import Toolchain
from vaporform_mcp.types import Network

__all__ = ["Prepared", "prepare"]

_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_HOST_NAMES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
_HOST_NAMES_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class _Namespaces:
    """What the first level is made with."""

    bubblewrap: Bubblewrap
    interpreter: Interpreter
    seccomp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """`found` are the user's own toolchains. Those in `closed` lie where only root reaches them, which commands of a
    server that is root never are: the restricted level cannot show them. `namespaces` is None where those are not to be
    used.
    """

    config: LocalConfig
    found: Sequence[Toolchain]
    closed: Sequence[Toolchain]
    egress: Egress
    namespaces: _Namespaces | None

    def recipe(self, level: Level, network: Network, environment: Mapping[str, str]) -> Recipe:
        """For a sandbox of that level with that network, whose commands get `environment` too."""
        base = {"USER": "user", "LOGNAME": "user", "LANG": "C.UTF-8", "TERM": "dumb", "SHELL": _shell()}
        if level == "restricted" or self.namespaces is None:
            return self._restricted(network, {**base, **environment})
        contents = {} if self.egress.bundle is None else {certificates.INSIDE: self.egress.bundle}
        return NamespacedRecipe(
            config=self.config,
            network=network,
            bubblewrap=self.namespaces.bubblewrap,
            interpreter=self.namespaces.interpreter,
            seccomp=self.namespaces.seccomp,
            environment={
                "PATH": f"{HOME}/.local/bin:{self.path('namespaces')}",
                "HOME": HOME,
                "TMPDIR": "/tmp",  # noqa: S108  # the sandbox's own
                **base,
                **self.egress.environment(network),
                **environment,
            },
            binds=self.binds(level),
            contents={**contents, **(_host_names() if network == "host" else {})},
        )

    def path(self, level: Level) -> str:
        """The PATH of commands as it is in namespaces, but for the sandbox's own home; `binds` show what is in it."""
        return self._joined(one.path for one in self._shown(level))

    @property
    def host_path(self) -> str:
        """The PATH of commands that see this machine's own paths, but for what is in the sandbox's folder."""
        return self._joined(one.host_path for one in self._shown("restricted") if one.is_tree)

    def binds(self, level: Level) -> Sequence[Bind]:
        """Where the toolchains of that level lie on the host, and where they would be shown in namespaces."""
        return [one.bind for one in self._shown(level)]

    def gaps(self, level: Level) -> Sequence[str]:
        """What commands lack at that level, in sentences."""
        if level == "namespaces" or not self.closed:
            return []
        names = ", ".join(dict.fromkeys(one.name for one in self.closed))
        return [f"toolchains in folders that are closed to the user that commands run as are left out: {names}"]

    def _restricted(self, network: Network, environment: Mapping[str, str]) -> Recipe:
        shown = self._shown("restricted")
        return RestrictedRecipe(
            config=self.config,
            network=network,
            environment=environment,
            path=self.host_path,
            trees=[one.bind.source for one in shown if one.is_tree],
            programs=[one.bind.source for one in shown if not one.is_tree],
            egress=self.egress,
        )

    def _joined(self, own: Iterable[str]) -> str:
        system = toolchains.shown_anyway(self.config.host_environment.get("PATH", ""))
        return ":".join(dict.fromkeys([*own, *system, *_SYSTEM_PATH]))

    def _shown(self, level: Level) -> Sequence[Toolchain]:
        return self.found if level == "namespaces" else [one for one in self.found if one not in self.closed]


def prepare(config: LocalConfig) -> Prepared:
    """Takes some milliseconds, and the first time on a machine longer.

    Raises:
        SandboxUnavailable: there can be no local sandbox here, or this machine lacks something.
        InvalidArgument: a setting of toolchains or of the network has no meaning.
    """
    check_platform()
    launch.compile_supervisor()
    found = toolchains.discover(config.host_environment, config.toolchains, private=config.data_dir)
    return Prepared(
        config=config,
        found=found,
        closed=[one for one in found if os.geteuid() == 0 and not _is_open(one)],
        egress=Egress(config),
        namespaces=None if config.isolation == "restricted" else _namespaces(config),
    )


def _namespaces(config: LocalConfig) -> _Namespaces:
    home = config.host_environment.get("HOME")
    return _Namespaces(
        bubblewrap=bubblewrap.find(),
        interpreter=interpreter(Path(home) if home else None),
        seccomp=seccomp.filter_program(),
    )


def _is_open(toolchain: Toolchain) -> bool:
    """Whether every user reaches it."""
    place = Path(toolchain.bind.source)
    return reach.is_passable(place if toolchain.is_tree else place.parent)


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
