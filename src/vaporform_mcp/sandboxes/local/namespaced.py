"""The first level: a sandbox in namespaces of its own, made with bubblewrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from vaporform_mcp import __version__
from vaporform_mcp.sandboxes.local import launch, layout
from vaporform_mcp.sandboxes.local.bubblewrap import Bind, Bubblewrap, Shape, Word, arguments, digest
from vaporform_mcp.sandboxes.local.cgroups import Cgroup
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.launch import Interpreter, Started
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.limits import limits_of
from vaporform_mcp.sandboxes.local.recipe import Fingerprint, supervisor_settings
from vaporform_mcp.sandboxes.local.removal import remove
from vaporform_mcp.sandboxes.supervised.pack import code_digest
from vaporform_mcp.types import Network

__all__ = ["NamespacedRecipe"]


def _remove_all(paths: Sequence[Path]) -> None:
    for path in paths:
        remove(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacedRecipe:
    """See `Recipe`. `environment` is its commands'; `contents` and `binds` are shown."""

    config: LocalConfig
    network: Network
    bubblewrap: Bubblewrap
    interpreter: Interpreter
    seccomp: bytes
    environment: Mapping[str, str]
    binds: Sequence[Bind]
    contents: Mapping[str, bytes]

    @property
    def level(self) -> Level:
        return "namespaces"

    def fingerprint(self, folder: Folder, *, start: int, files: str, dropped: bool) -> Fingerprint:
        limits = limits_of(self.config, own_user=dropped)
        policy = digest(self.network, sorted(limits.items()), self.config.tmp_mb, self.seccomp, dropped)
        shape = digest(
            __version__,
            code_digest(),
            self.bubblewrap.version,
            self._words(folder, -1, -1),
            sorted(self.environment.items()),
            self.config.linger_s,
        )
        return Fingerprint(policy=policy, shape=shape, start=start, files=files)

    async def make_ready(self, folder: Folder, uid: int | None) -> None:
        if folder.tools.exists():  # of the restricted level, at which it was before
            await anyio.to_thread.run_sync(_remove_all, (folder.tmp, folder.tools))
        if uid is not None:
            layout.give(folder, uid)

    def start(
        self, folder: Folder, fingerprint: Fingerprint, *, uid: int | None, cgroup: Cgroup | None, listener: int
    ) -> Started:
        limits = limits_of(self.config, own_user=uid is not None)
        settings = supervisor_settings(
            folder, fingerprint, self.config, self.environment, limits, {"outside_only": True}
        )
        with launch.memory_file(settings) as source:
            words = self._words(folder, listener, source)
            keep = [listener, source]
            return launch.start(self.bubblewrap, words, uid=uid, cgroup=cgroup, log=folder.log, keep=keep)

    def _words(self, folder: Folder, listen: int, settings: int) -> list[Word]:
        """Bubblewrap's arguments, with the descriptors that the supervisor finds its socket and settings at."""
        return arguments(
            Shape(
                files=str(folder.files),
                home=str(folder.home),
                own_network=self.network != "host",
                tmp_bytes=self.config.tmp_mb << 20,
                binds=[*self.interpreter.binds, *self.binds],
                shell=self.environment["SHELL"],
                contents=self.contents,
                seccomp=self.seccomp,
                environment=self.interpreter.environment,
                command=self.interpreter.command(listen, settings),
            )
        )
