"""The second level: a sandbox of ordinary processes that see the host's own paths, and may reach very few of them.

Nothing but the supervisor's interpreter is started here: what it and its commands may do, it takes from itself.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio

from vaporform_mcp import __version__
from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local import identity, launch, layout, reach
from vaporform_mcp.sandboxes.local.bubblewrap import digest
from vaporform_mcp.sandboxes.local.cgroups import Cgroup
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.launch import Started
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.limits import limits_of
from vaporform_mcp.sandboxes.local.network import Egress
from vaporform_mcp.sandboxes.local.recipe import RESTRICTED, Fingerprint, supervisor_settings
from vaporform_mcp.sandboxes.local.removal import remove
from vaporform_mcp.sandboxes.local.sweeping import TAG, tag_of
from vaporform_mcp.sandboxes.local.system import LINKED, STORES, names_in_etc
from vaporform_mcp.sandboxes.supervised import inside
from vaporform_mcp.sandboxes.supervised.fields import JsonValue
from vaporform_mcp.sandboxes.supervised.pack import code_digest
from vaporform_mcp.types import Network

__all__ = ["RestrictedRecipe"]

_BACKLOG = 256
_NAMES = ("passwd", "group", "hosts", "hostname", "nsswitch.conf", "resolv.conf")
_ELSEWHERE = ("/sys/devices/system/cpu",)
_BUNDLE = "certificates.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictedRecipe:
    """See `Recipe`. `environment` is its commands', but for what depends on the sandbox's folder.

    `trees` are toolchains that may be read and run, `programs` single ones of them, each a file, and `path` the PATH
    but for what is in the sandbox's folder.
    """

    config: LocalConfig
    network: Network
    environment: Mapping[str, str]
    path: str
    trees: Sequence[str]
    programs: Sequence[str]
    egress: Egress

    @property
    def level(self) -> Level:
        return "restricted"

    def fingerprint(self, folder: Folder, *, start: int, files: str, dropped: bool) -> Fingerprint:
        limits = limits_of(self.config, own_user=dropped, level="restricted")
        policy = digest(self.network, sorted(limits.items()), dropped, self.egress.machine_ports)
        shape = digest(
            __version__,
            code_digest(),
            sys.executable,
            self._readable(folder),
            sorted(self._environment(folder, 0).items()),
            self.egress.bundle,
            self.config.linger_s,
        )
        return Fingerprint(policy=RESTRICTED + policy, shape=shape, start=start, files=files)

    async def make_ready(self, folder: Folder, uid: int | None) -> None:
        if uid is None and os.geteuid() == 0:
            raise SandboxUnavailable(
                "no sandbox can be started: this server is root in a container that has no other user",
                hint="Run the server as an ordinary user, or give its container a range of at least 65,536 users.",
            )
        await anyio.to_thread.run_sync(self._make_ready, folder, uid)

    def start(
        self, folder: Folder, fingerprint: Fingerprint, *, uid: int | None, cgroup: Cgroup | None, listener: int
    ) -> Started:
        with ExitStack() as opened:
            proxy: socket.socket | None = None
            if self.network == "internet":
                proxy = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG))
            port = 0 if proxy is None else int(proxy.getsockname()[1])
            egress = None if proxy is None else proxy.fileno()
            restricted: dict[str, JsonValue] = {
                "read": [list(row) for row in self._readable(folder)],
                "write": [str(path) for path in _writable(folder)],
                "network": self.network,
                "egress": egress,
                "open_ports": list(self.egress.machine_ports),
                "uid": uid,
                "abi": None,
                "addfd": False,
            }
            more: dict[str, JsonValue] = {
                "root": str(folder.files),
                "spool_dir": str(folder.tmp / "vaporform"),
                "outside_only": False,
                "restricted": restricted,
            }
            limits = dict(limits_of(self.config, own_user=uid is not None, level="restricted"))
            if uid is None:
                limits["NPROC"] += identity.processes_of(os.geteuid())
            environment = self._environment(folder, port)
            settings = supervisor_settings(folder, fingerprint, self.config, environment, limits, more)
            source = opened.enter_context(launch.memory_file(settings))
            keep = [listener, source, *([] if egress is None else [egress])]
            return launch.start_supervisor(
                _command(folder, listener, source), {TAG: tag_of(folder)}, cgroup=cgroup, log=folder.log, keep=keep
            )

    def _make_ready(self, folder: Folder, uid: int | None) -> None:
        if uid is not None:
            reach.make_reachable(folder)
        for path in (folder.tmp, folder.tools):
            remove(path)
        folder.tmp.mkdir(mode=0o700)
        folder.tools.mkdir(mode=0o755)
        folder.tools.chmod(0o755)
        for program in self.programs:
            (folder.tools / Path(program).name).symlink_to(program)
        if self.egress.bundle is not None:
            bundle = folder.base / _BUNDLE
            bundle.write_bytes(self.egress.bundle)
            bundle.chmod(0o644)
        if uid is not None:
            layout.give(folder, uid)

    def _environment(self, folder: Folder, port: int) -> dict[str, str]:
        return {
            **self.egress.environment(self.network, proxy_port=port, bundle_at=str(folder.base / _BUNDLE)),
            "PATH": f"{folder.home}/.local/bin:{folder.tools}:{self.path}",
            "HOME": str(folder.home),
            "TMPDIR": str(folder.tmp),
            # Git goes no further where a file of the machine's is there and closed to it.
            "GIT_CONFIG_NOSYSTEM": "1",
            **self.environment,
            TAG: tag_of(folder),
        }

    def _readable(self, folder: Folder) -> list[tuple[str, str]]:
        """Paths with what may be done with them: x to read and run what is in them, r only to read."""
        runnable = ["/usr", *LINKED, *STORES, *self.trees, *self.programs]
        readable = [*_ELSEWHERE, *(f"/etc/{name}" for name in (*names_in_etc(), *_NAMES))]
        found = [(path, "x") for path in runnable] + [(path, "r") for path in readable]
        own = [(str(folder.tools), "r")]
        if self.egress.bundle is not None:
            own.append((str(folder.base / _BUNDLE), "r"))
        return [(path, right) for path, right in found if Path(path).exists()] + own


def _writable(folder: Folder) -> tuple[Path, Path, Path]:
    return folder.files, folder.home, folder.tmp


def _command(folder: Folder, listen: int, settings: int) -> list[str]:
    modules = str(Path(inside.__file__ or "").parent.parent)
    program = (
        f"import sys; sys.path.append({modules!r}); from inside.supervisor import main; main({listen}, {settings})"
    )
    return [sys.executable, "-I", "-S", "-B", "-c", program, tag_of(folder)]
