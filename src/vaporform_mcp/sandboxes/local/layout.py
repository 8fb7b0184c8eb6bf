"""Where a sandbox lies on the host: its folders, socket, lock and notes."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import socket
import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.local.diskfaults import disk_faults

__all__ = [
    "Folder",
    "birth",
    "create",
    "elsewhere",
    "folder_of",
    "folders",
    "forget_start",
    "give",
    "listen",
    "make_lockable",
    "next_start",
    "place_elsewhere",
    "socket_address",
    "trash",
    "trashed",
]

_ID = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?")
_NAME = re.compile(r"(?P<workspace>[A-Za-z0-9_-]{1,64})-(?P<epoch>[0-9]{1,12})")
_TRASH = ".trash-"
_ELSEWHERE = "elsewhere"
_BACKLOG = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """One sandbox's folder. `files` is its /workspace and `home` its /home/user; the rest commands cannot see.

    `base` is where those two lie, and `tmp` and `tools` of a sandbox that sees the host's own paths: in `root`, unless
    the user that commands run as could not pass through it (see `reach.py`).
    """

    root: Path
    workspace_id: str
    epoch: int

    @property
    def base(self) -> Path:
        return elsewhere(self.root) or self.root

    @property
    def files(self) -> Path:
        return self.base / "files"

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def tmp(self) -> Path:
        return self.base / "tmp"

    @property
    def tools(self) -> Path:
        return self.base / "tools"

    @property
    def mark(self) -> Path:
        return self.root / "mark"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    @property
    def pid(self) -> Path:
        return self.run / "pid.json"

    @property
    def starts(self) -> Path:
        return self.run / "starts"


def elsewhere(root: Path) -> Path | None:
    """Where what commands use of the sandbox in `root` lies, where that is not in `root` itself."""
    try:
        return (root / _ELSEWHERE).readlink()
    except OSError:
        return None


def place_elsewhere(folder: Folder, base: Path) -> None:
    """Remember that its base is there. Only under the folder's lock."""
    (folder.root / _ELSEWHERE).symlink_to(base)


def folder_of(data_dir: Path, workspace_id: str, epoch: int) -> Folder:
    """Raises `InvalidArgument` for an id that is not made of letters, digits, `_` and inner hyphens."""
    if not _ID.fullmatch(workspace_id) or epoch < 0:
        raise InvalidArgument(f"{workspace_id[:80]!r} is not the id of a workspace")
    name = f"{workspace_id}-{epoch}"
    return Folder(root=_sandboxes(data_dir) / name, workspace_id=workspace_id, epoch=epoch)


def folders(data_dir: Path) -> list[Folder]:
    """Every sandbox's folder, sorted by name."""
    found: list[Folder] = []
    try:
        names = sorted(path.name for path in _sandboxes(data_dir).iterdir())
    except OSError:
        return found
    for name in names:
        if match := _NAME.fullmatch(name):
            workspace_id, epoch = match["workspace"], int(match["epoch"])
            found.append(Folder(root=_sandboxes(data_dir) / name, workspace_id=workspace_id, epoch=epoch))
    return found


def create(folder: Folder) -> None:
    """Make what is missing of a sandbox's folder, private to us. Under the folder's lock: its files may be on the move.

    Raises:
        SandboxUnavailable: a folder of that name belongs to somebody else, or cannot be made.
        LimitReached: the disk is full.
    """
    make_lockable(folder)
    with disk_faults("the sandbox's folder cannot be made"):
        if (base := elsewhere(folder.root)) is not None and not base.is_dir():
            (folder.root / _ELSEWHERE).unlink(missing_ok=True)  # somebody removed it; it is made anew when needed
        for path in (folder.files, folder.home):
            path.mkdir(mode=0o700, exist_ok=True)
            if path.is_symlink():
                raise NotADirectoryError(0, "a link is in its place")


def make_lockable(folder: Folder) -> None:
    """Make what is missing of what holds the lock. Raises as `create`."""
    with disk_faults("the sandbox's folder cannot be made"):
        folder.root.parent.parent.mkdir(parents=True, exist_ok=True)
        _check_ours(folder.root.parent.parent)
        for path in (folder.root.parent, folder.root):
            _make_private(path, passable=True)
        _make_private(folder.run, passable=False)


def give(folder: Folder, uid: int) -> None:
    """Make a new folder's files and home belong to the user that commands run as, and `tmp` where there is one."""
    for path in (folder.files, folder.home, folder.tmp):
        if path.exists() and os.lstat(path).st_uid != uid:
            os.chown(path, uid, uid, follow_symlinks=False)


def next_start(folder: Folder) -> int:
    """Count one more start of the sandbox. Only under the folder's lock."""
    try:
        number = int(folder.starts.read_bytes()) + 1
    except (OSError, ValueError):
        number = 1
    _note_starts(folder, number)
    return number


def forget_start(folder: Folder, number: int) -> None:
    """Take back the last start: its supervisor never answered, so that no command can have run. Under the lock."""
    with suppress(OSError):
        _note_starts(folder, number - 1)


def _note_starts(folder: Folder, number: int) -> None:
    temporary = folder.starts.with_suffix(".new")
    temporary.write_text(str(number), encoding="ascii")
    temporary.replace(folder.starts)


def birth(path: Path) -> str | None:
    """What tells a folder from a later one of the same name; None where there is no folder.

    Its inode and time of birth. The device number is left out: on some file systems it differs after every mount.
    """
    try:
        seen = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISDIR(seen.st_mode):
        return None
    return f"{seen.st_ino}-{_birth_time(path)}"


@contextmanager
def socket_address(folder: Folder) -> Generator[str]:
    """The socket's address while the context is open.

    It leads through a descriptor of its folder, since a path of more than 107 bytes is none for a socket; and so the
    supervisor, which may ask for the name of the socket that it inherits, learns no path of the host.
    """
    descriptor = os.open(folder.run, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/s"
    finally:
        os.close(descriptor)


def listen(folder: Folder) -> socket.socket:
    """A listening socket in place of whatever was there. Only under the folder's lock."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (folder.run / "s").unlink(missing_ok=True)
        with socket_address(folder) as address:
            listener.bind(address)
        (folder.run / "s").chmod(0o600)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def trash(folder: Folder) -> Path | None:
    """Take the folder's name away, at once and whole; None where there is no such folder."""
    target = folder.root.parent / f"{_TRASH}{secrets.token_hex(8)}"
    try:
        folder.root.rename(target)
    except FileNotFoundError:
        return None
    return target


def trashed(data_dir: Path) -> list[Path]:
    """What an interrupted removal left behind."""
    try:
        seen = os.lstat(_sandboxes(data_dir))
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
            return []  # whatever it is, it is not ours to remove
        return [path for path in _sandboxes(data_dir).iterdir() if path.name.startswith(_TRASH)]
    except OSError:
        return []


def _sandboxes(data_dir: Path) -> Path:
    return data_dir / "sandboxes"


def _check_ours(data_dir: Path) -> None:
    """Whoever may rename what is in it could put another folder in the place of ours."""
    seen = data_dir.stat()
    if seen.st_uid not in {os.geteuid(), 0}:
        raise PermissionError(0, "the data folder belongs to another user")
    if seen.st_mode & stat.S_IWOTH and not seen.st_mode & stat.S_ISVTX:
        raise PermissionError(0, "every user may write in the data folder")


def _make_private(path: Path, *, passable: bool) -> None:
    """`passable`: that others may pass through it, to what they know the name of, is left as it is."""
    path.mkdir(mode=0o700, exist_ok=True)
    seen = os.lstat(path)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        raise PermissionError(0, "it belongs to another user")
    if seen.st_mode & (0o066 if passable else 0o077):
        path.chmod(0o700)


class _Statx:
    """The call that alone tells a file's time of birth, from the C library where it has it."""

    AT_FDCWD = -100
    AT_SYMLINK_NOFOLLOW = 0x100
    BTIME = 0x800
    SIZE = 256
    BTIME_OFFSET = 80  # of struct statx_timestamp: seconds (64 bits), nanoseconds (32 bits)

    def __init__(self) -> None:
        self._call = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)

    def birth_ns(self, path: Path) -> int:
        buffer = ctypes.create_string_buffer(self.SIZE)
        if self._call is None or self._call(
            self.AT_FDCWD, os.fsencode(path), self.AT_SYMLINK_NOFOLLOW, ctypes.c_uint(self.BTIME), buffer
        ):
            return 0
        (mask,) = struct.unpack_from("=I", buffer, 0)
        seconds, nanoseconds = struct.unpack_from("=qI", buffer, self.BTIME_OFFSET)
        return seconds * 1_000_000_000 + nanoseconds if mask & self.BTIME else 0


_statx: list[_Statx] = []


def _birth_time(path: Path) -> int:
    if not _statx:
        _statx.append(_Statx())
    return _statx[0].birth_ns(path)
