"""Become a user without privileges, then bubblewrap: a program of its own, which a server that runs as root starts.

Run as ``python -I -S -B unprivileged.py DESCRIPTOR``, where the descriptor has what `plan` makes. It imports nothing of
the package, which that interpreter has no path to, nor what would slow its start (json, pathlib).

Each step is where it is for a reason. The user namespace comes first, since only inside it may the mounts be made
without CAP_SYS_ADMIN, which containers lack. Its map is written from outside, by a child that stayed there. The
descriptors are opened while this is still host uid 0, which owns what must be reached; the binds are made once it is
not. Names of programs or libraries under /run do not survive: nothing that bubblewrap needs is there.
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 4096, 16384, 1 << 19


def plan(uid: int, binds: list[str], argv: list[str]) -> bytes:
    """What `main` reads. Each path of `binds` is shown at /run/INDEX, whether or not `uid` could reach it."""
    return "\0".join([str(uid), str(len(binds)), *binds, *argv]).encode(errors="surrogateescape")


def main(descriptor: int) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape", newline="") as source:
        uid, count, *words = source.read().split("\0")
    binds, argv = words[: int(count)], words[int(count) :]
    os.chdir("/")
    os.umask(0o022)
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    _enter_namespaces(libc, int(uid))
    _mount(libc, None, "/", None, MS_REC | MS_SLAVE)
    opened = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in binds]
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _mount(libc, "tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k")
    for index, bound in enumerate(opened):
        _show(libc, f"/proc/self/fd/{bound}", f"/run/{index}")
    os.execve(argv[0], argv, {})  # noqa: S606  # this process is to become bubblewrap


def _enter_namespaces(libc: ctypes.CDLL, uid: int) -> None:
    ready, entered = os.pipe()
    me = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(entered)
        os._exit(0 if os.read(ready, 1) and _map(me, uid) else 1)
    os.close(ready)
    _check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
    os.write(entered, b"x")
    os.close(entered)
    if os.waitpid(child, 0)[1]:
        sys.exit("unprivileged: the user map was refused")


def _map(process: int, uid: int) -> bool:
    for name in ("uid_map", "gid_map"):
        try:
            with open(f"/proc/{process}/{name}", "w", encoding="ascii") as target:  # noqa: PTH123
                target.write(f"0 {uid} 1\n")
        except OSError as error:
            sys.stderr.write(f"unprivileged: {name}: {error}\n")
            return False
    return True


def _show(libc: ctypes.CDLL, path: str, target: str) -> None:
    if os.path.isdir(path):  # noqa: PTH112
        os.mkdir(target)  # noqa: PTH102
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    _mount(libc, path, target, None, MS_BIND | MS_REC)


def _mount(
    libc: ctypes.CDLL, source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _check(libc.mount(*words, ctypes.c_ulong(flags), None if options is None else options.encode()), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        sys.exit(f"unprivileged: {what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
