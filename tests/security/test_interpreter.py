"""What a sandbox sees of the Python that the server runs with, where that shares its folder with all else of a user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
LEFT_OUT = ("site-packages", "dist-packages", "test", "idlelib", "tkinter", "ensurepip", "lib2to3", "config-*")

# What nothing inside may find, by their names.
KEYRING, PACKAGE, NEIGHBOUR, STORE = "login.keyring", "private-package", "of-another-workspace", "store.sqlite"

PROGRAM = f"""
import os, sys
from pathlib import Path
import anyio
from vaporform_mcp.sandboxes.base import Command, FileWrite
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.types import Spec, WorkspacePath

async def main():
    data = Path(sys.base_prefix, "share", "vaporform-mcp")
    config = LocalConfig(data_dir=data, linger_s=1, toolchains=("none",), host_environment=dict(os.environ))
    async with open_local(config) as provider:
        try:
            other = await provider.acquire(Spec(provider="local"), "other", 1, lambda *_: None)
            await other.write_files([FileWrite(path=WorkspacePath({NEIGHBOUR!r}), content=b"private")])
            sandbox = await provider.acquire(Spec(provider="local"), "ws", 1, lambda *_: None)
            result = await sandbox.exec(Command(text=sys.argv[1], timeout_s=60))
            sys.stdout.buffer.write(result.head)
        finally:
            with anyio.CancelScope(shield=True):
                await provider.destroy("other", 1)
                await provider.destroy("ws", 1)

print(sys.base_prefix, flush=True)
anyio.run(main)
"""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A ~/.local into which this Python was installed too, beside what a user has there."""
    local = tmp_path / "home/.local"
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, local / "lib" / VERSION, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for shared in Path(sys.base_prefix, "lib").glob(f"lib{VERSION}*.so.*"):
        shutil.copy(shared, local / "lib")
    (local / "bin").mkdir()
    shutil.copy(os.path.realpath(sys.executable), local / "bin" / VERSION)
    for private in (
        f"share/keyrings/{KEYRING}",
        f"share/vaporform-mcp/{STORE}",
        f"lib/{VERSION}/site-packages/{PACKAGE}",
        f"lib/other/{KEYRING}",
        f"bin/{KEYRING}",
    ):
        (local / private).parent.mkdir(parents=True, exist_ok=True)
        (local / private).write_text("secret")
    return local


def inside(prefix: Path, command: str) -> list[str]:
    """Lines that the command says in a sandbox of a server that runs with the Python in `prefix`."""
    done = subprocess.run(
        [prefix / "bin" / VERSION, "-B", "-c", PROGRAM, command],
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(prefix.parent),
            "PYTHONPATH": ":".join([str(ROOT / "src"), *(path for path in sys.path if path.endswith("-packages"))]),
            "LD_LIBRARY_PATH": f"{prefix}/lib",
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    where, *lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr[-4_000:]
    assert where == str(prefix)
    return lines


def test_nothing_that_lies_beside_the_servers_python_is_seen(prefix: Path) -> None:
    names = " -o ".join(f"-name {name}" for name in (KEYRING, PACKAGE, NEIGHBOUR, STORE))
    search = rf"find / \( -path /proc -o -path /usr \) -prune -o \( {names} \) -print 2>/dev/null"
    assert inside(prefix, f"{search}; ls /.vf/py /.vf/py/bin; echo works") == [
        *("/.vf/py:", "bin", "lib", "", "/.vf/py/bin:", VERSION, "works")
    ]
