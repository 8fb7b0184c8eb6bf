"""Servers whose disk is small: tmpfs file systems in a mount namespace that only the server and its sandbox are in."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.stdio_client import LIMIT_S, PROGRAM, StdioServer
from vaporform_mcp import app
from vaporform_mcp.settings import Settings

__all__ = ["SMALL_DISK", "SMALL_STORE", "ServerOnDisk", "needs_mounts"]

# An ordinary user is root in a user namespace of its own for as long as it takes to mount, and then itself again.
_AS_ITSELF = f'exec unshare --user --map-user={os.geteuid()} --map-group={os.getegid()} "$@"'
_LAST = 'exec "$@"' if os.geteuid() == 0 else _AS_ITSELF
_OWN_MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]

SMALL_DISK = 'mkdir -p "$0/sandboxes"; mount -t tmpfs -o size=12m none "$0/sandboxes"'
"""Little space for sandboxes; the store has plenty."""

SMALL_STORE = (
    'mkdir -p "$0" "$0.files"; mount -t tmpfs -o size=10m none "$0"; mkdir "$0/sandboxes"; '
    'mount --bind "$0.files" "$0/sandboxes"; head -c 4000000 /dev/zero > "$0/other"; cp "$0/other" "$0/more"'
)
"""Little space for the store, most of it taken by the files `other` and `more`; sandboxes have plenty."""


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = [*_OWN_MOUNTS, "sh", "-ec", f"mount -t tmpfs none /mnt; {_LAST}", "-", "true"]
    return subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="this machine lets nobody mount in a namespace of its own")


@dataclass(slots=True)
class ServerOnDisk(StdioServer):
    """A server for which the shell line `mount` was run before, with its data folder as `$0`."""

    mount: str = field(kw_only=True)

    def __post_init__(self) -> None:
        data_dir = self.environment["VAPORFORM_DATA_DIR"]
        self.process = subprocess.Popen(
            [*_OWN_MOUNTS, "sh", "-ec", f"{self.mount}\n{_LAST}", data_dir, *PROGRAM],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def __enter__(self) -> ServerOnDisk:
        self.initialize()
        return self

    @property
    def data_dir(self) -> Path:
        """The data folder as the server sees it."""
        return Path(f"/proc/{self.process.pid}/root{self.environment['VAPORFORM_DATA_DIR']}")

    def copy_of_the_store(self, folder: Path) -> Settings:
        """Settings of a data folder with a copy of the server's store, for which it must be at rest.

        A copy, since SQLite follows the way through /proc to a path that means something else out here.
        """
        folder.mkdir()
        settings = Settings(data_dir=folder)
        name = app.store_file(settings).name
        for path in self.data_dir.glob(f"{name}*"):
            shutil.copy(path, folder)
        (folder / f"{name}-shm").unlink(missing_ok=True)
        return settings
