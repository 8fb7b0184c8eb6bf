"""The supervisor of a sandbox that no server starts from outside: found by its socket, or started under a lock."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import sys
import time

from . import renewing
from .ports import PortTable
from .receiving import Failed, receive

__all__ = ["attach"]

WORKSPACE = "/workspace"
SHELLS = ("/bin/bash", "/usr/bin/bash", "/bin/sh")
OF_A_SHELL = {"_", "PWD", "OLDPWD", "SHLVL"}

SOCKET = "supervisor.sock"
BUSY_S = 10.0
LOCK_S = 30.0

_IDENTITY = "user.vaporform"

_KEPT = {"lock", "root", "whose"}


def attach(archive: str, wanted: dict[str, object], *, renews: bool) -> tuple[socket.socket, dict[str, object], int]:
    """A connection to the supervisor, its greeting, and which start of it this is. The working directory is the folder
    that is ours. `renews` asks for one of our own code, where another can be replaced without anybody's noticing.
    """
    whose = f"{wanted['workspace']} {wanted['epoch']}"
    found = _connect(whose)
    if found is None or _is_due(archive, found, renews=renews):
        with open("lock", "w") as lock:
            _lock(lock.fileno())
            if found is not None:
                found[0].close()
            found = _connect(whose)
            if found is not None and _is_due(archive, found, renews=renews):
                renewing.replace(found[0], _noted(found[1], "code"))
                found = None
            found = found or _start(archive, wanted, whose)
    return found[0], found[1], int(_noted(found[1], "start"))


def _is_due(archive: str, found: tuple[socket.socket, dict[str, object]], *, renews: bool) -> bool:
    connection, hello = found
    ours = os.path.basename(archive)
    return renewing.is_due(connection, hello["hello"], _noted(hello, "code"), ours, asked=renews)


def _noted(hello: dict[str, object], name: str) -> str:
    return str(json.loads(str(hello["config"]))[name])


def _lock(descriptor: int) -> None:
    until = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > until:
                raise Failed("another start of the supervisor does not end") from None
            time.sleep(0.02)
        else:
            return


def _connect(whose: str) -> tuple[socket.socket, dict[str, object]] | None:
    """None where no supervisor of that sandbox runs. Raises `Failed` where one does that has no room for long."""
    until = time.monotonic() + BUSY_S
    while True:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            one.settimeout(BUSY_S)
            one.connect(SOCKET)
            hello, _ = receive(one)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            one.close()
            return None
        except (OSError, EOFError):
            # It is there, and ends or is full: a second one beside it would know nothing of what it runs.
            one.close()
        if time.monotonic() > until:
            raise Failed("the supervisor answers nobody: too much is asked of it at once, or a command stopped it")
        time.sleep(0.05)
    if json.loads(str(hello["config"])).get("whose", whose) != whose:
        # Of the sandbox whose saved state this one was made from, with what ran in it.
        renewing.end(one)
        return None
    one.settimeout(None)
    return one, hello


def _start(archive: str, wanted: dict[str, object], whose: str) -> tuple[socket.socket, dict[str, object]]:
    _become_own(archive, whose)
    start = _count()
    root = _workspace(str(wanted.get("root", WORKSPACE)))
    noted = {
        "start": start,
        "whose": whose,
        "code": os.path.basename(archive),
        "state": os.getcwd(),
        "root": root,
        "files": _identity(root),
    }
    config = {
        **wanted,
        "config": json.dumps(noted),
        "root": root,
        "env": _environment(wanted.get("env")),
        "shell": next((each for each in SHELLS if os.access(each, os.X_OK)), "/bin/sh"),
        "machine_ports": _machine_ports(wanted.get("machine_ports")),
        "spool_dir": os.path.abspath("output"),
    }
    if os.path.exists(SOCKET):
        os.unlink(SOCKET)
    _empty(str(config["spool_dir"]))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    os.chmod(SOCKET, 0o600)
    listener.listen(64)
    os.set_inheritable(listener.fileno(), True)
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    code = f"from inside.supervisor import main; main({listener.fileno()}, {read_end})"
    if os.fork() == 0:
        try:
            _become(archive, code)
        finally:
            os._exit(127)
    os.close(read_end)
    listener.close()
    with os.fdopen(write_end, "wb") as pipe:
        pipe.write(json.dumps(config).encode())
    found = _connect(whose)
    if found is None:
        raise Failed(f"the supervisor does not start: {_said()}")
    return found


def _identity(folder: str) -> str:
    """What tells this folder from one that comes to lie in its place, and stays when the sandbox sleeps.

    The number of its device does not: an overlay has another one each time it is mounted. Nor need that of its inode,
    which another folder may get: it serves where the file system keeps no attributes.
    """
    try:
        try:
            return os.getxattr(folder, _IDENTITY).decode("ascii")
        except OSError:
            os.setxattr(folder, _IDENTITY, secrets.token_hex(8).encode())
            return os.getxattr(folder, _IDENTITY).decode("ascii")
    except (OSError, AttributeError, UnicodeDecodeError):
        return str(os.stat(folder).st_ino)


def _become_own(archive: str, whose: str) -> None:
    """Leave nothing of the sandbox whose saved state this one was made from, but for where its files lie."""
    try:
        with open("whose") as source:
            before = source.read()
    except FileNotFoundError:
        before = whose
    if before != whose:
        for each in os.scandir("."):
            if each.name in _KEPT or each.name == os.path.basename(archive):
                continue
            if each.is_dir(follow_symlinks=False):
                shutil.rmtree(each.path)
            else:
                os.unlink(each.path)
    with open("whose.new", "w") as target:
        target.write(whose)
    os.replace("whose.new", "whose")


def _workspace(preferred: str) -> str:
    """The workspace's folder, made where it is missing; in the user's home where it cannot be made preferred."""
    home = os.path.join(os.path.expanduser("~"), "workspace")
    try:
        with open("root") as source:
            known = source.read()
    except FileNotFoundError:
        known = ""
    for path in [known] if known else [preferred, home]:
        if _is_ours(path):
            path = os.path.realpath(path)
            with open("root", "w") as target:
                target.write(path)
            return path
    raise Failed(f"neither {preferred} nor {home} can be made, or written to, by this user")


def _is_ours(path: str) -> bool:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError:
        # Images whose user is not root often let it become root.
        made = ["sudo", "-n", "install", "-d", "-o", str(os.getuid()), "-g", str(os.getgid()), path]
        try:
            os.waitpid(os.posix_spawnp("sudo", made, os.environ), 0)
        except OSError:
            return False
    return os.path.isdir(path) and os.access(path, os.R_OK | os.W_OK | os.X_OK)


def _machine_ports(wanted: object) -> list[int]:
    """What listened before the first command could: it is the machine's, whatever starts later."""
    if not os.path.exists("ports"):
        with open("ports.new", "w") as target:
            json.dump(sorted(PortTable().listening()), target)
        os.replace("ports.new", "ports")
    with open("ports") as source:
        found: list[int] = json.load(source)
    return [*found, *(wanted if isinstance(wanted, list) else ())]  # pyright: ignore[reportUnknownVariableType]  # numbers


def _environment(wanted: object) -> dict[str, object]:
    """Of commands: the sandbox's own, without what is of the shell that started us, over what the server wants."""
    base: dict[str, object] = {**wanted} if isinstance(wanted, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # it holds anything
    own = {name: value for name, value in os.environ.items() if name not in OF_A_SHELL}
    return {"TMPDIR": "/tmp", "HOME": os.path.expanduser("~"), "LANG": "C.UTF-8", "PATH": os.defpath, **base, **own}  # noqa: S108


def _empty(folder: str) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))


def _become(archive: str, code: str) -> None:
    """In the child: out of the group and the pipes of the command that we are, so that it outlives it."""
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, source in ((0, null), (1, null), (2, log)):
        os.dup2(source, target)
    program = f"import sys; sys.path.insert(0, {archive!r}); {code}"
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-B", "-c", program])  # noqa: S606  # our own


def _count() -> int:
    """One more start, on the disk before it happens: two with one number would mix up their processes."""
    try:
        with open("starts") as source:
            start = int(source.read()) + 1
    except (FileNotFoundError, ValueError):
        start = 1
    with open("starts.new", "w") as target:
        target.write(str(start))
        target.flush()
        os.fsync(target.fileno())
    os.replace("starts.new", "starts")
    return start


def _said() -> str:
    try:
        with open("log", errors="replace") as source:
            return source.read()[-500:].strip()
    except OSError:
        return ""
