"""A folder of this machine that nothing leads out of: no symbolic link in it is ever followed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.errors import Conflict, InvalidArgument, LimitReached, PermissionDenied, VaporformError
from vaporform_mcp.types import EntryKind, Stat, WorkspacePath

__all__ = ["TEMPORARY", "Folder", "Incoming", "open_folder", "stat_of", "told"]

TEMPORARY = ".vaporform-partial-"
"""How the names of files begin that are being written, and are renamed when they are whole."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ANOTHER = "Look at what is there, or name another place."
_PERMISSIONS = 0o777  # neither set-user-id nor its kind is ever handed out

_KINDS = {stat.S_IFREG: EntryKind.FILE, stat.S_IFLNK: EntryKind.SYMLINK, stat.S_IFDIR: EntryKind.DIRECTORY}


@dataclass(slots=True, kw_only=True)
class Incoming:
    """A file that is being written under a temporary name, in the folder that it will lie in."""

    parent: int
    temporary: str
    name: str
    file: int


class Folder:
    """Paths are looked up part by part below an open descriptor, so that a link on the way is met, not followed.

    Each method blocks, and raises `OSError` as the system does; `told` says it in words. What the user's umask takes
    from files that programs make, it takes from those that are written here.
    """

    def __init__(self, root: int, umask: int) -> None:
        self._root = root
        self._permissions = _PERMISSIONS & ~umask

    def write(self, path: WorkspacePath, content: bytes, *, mode: int, mtime: float | None = None) -> None:
        """Put a file there, whole or not at all, in the place of a file or link of that name."""
        incoming = self.start(path)
        try:
            self.extend(incoming, content)
            self.finish(incoming, mode=mode, mtime=mtime)
        except BaseException:
            self.discard(incoming)
            raise

    def start(self, path: WorkspacePath) -> Incoming:
        """Begin a file that comes in pieces. It ends with `finish` or `discard`."""
        folder, _, name = path.rpartition("/")
        parent = self._folder(folder, make=True)
        temporary = _temporary(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            _clear(temporary, parent)
            return Incoming(
                parent=parent, temporary=temporary, name=name, file=os.open(temporary, flags, 0o600, dir_fd=parent)
            )
        except BaseException:
            os.close(parent)
            raise

    def extend(self, incoming: Incoming, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[os.write(incoming.file, left) :]

    def finish(self, incoming: Incoming, *, mode: int, mtime: float | None = None) -> None:
        os.fchmod(incoming.file, mode & self._permissions)
        if mtime is not None:
            os.utime(incoming.file, (mtime, mtime))
        os.rename(incoming.temporary, incoming.name, src_dir_fd=incoming.parent, dst_dir_fd=incoming.parent)
        os.close(incoming.file)
        os.close(incoming.parent)

    def discard(self, incoming: Incoming) -> None:
        with suppress(OSError):
            os.unlink(incoming.temporary, dir_fd=incoming.parent)
        for descriptor in (incoming.file, incoming.parent):
            with suppress(OSError):
                os.close(descriptor)

    def link(self, path: WorkspacePath, target: bytes, *, mtime: float | None = None) -> None:
        """Put a symbolic link there, in the place of a file or link of that name."""
        if b"\0" in target:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # Python has another error for it
        folder, _, name = path.rpartition("/")
        with self._opened(folder, make=True) as parent:
            temporary = _temporary(name)
            _clear(temporary, parent)
            os.symlink(target, os.fsencode(temporary), dir_fd=parent)
            try:
                if mtime is not None:
                    os.utime(temporary, (mtime, mtime), dir_fd=parent, follow_symlinks=False)
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(temporary, dir_fd=parent)
                raise

    def remove(self, path: WorkspacePath) -> None:
        """Take a file or link away, and the folders that this leaves empty. One that is not there is no failure."""
        folder, _, name = path.rpartition("/")
        with suppress(FileNotFoundError), self._opened(folder) as parent:
            os.unlink(name, dir_fd=parent)
        while folder:
            above, _, name = folder.rpartition("/")
            with suppress(FileNotFoundError), self._opened(above) as parent:
                try:
                    os.rmdir(name, dir_fd=parent)
                except OSError:
                    return  # somebody else's files are in it
            folder = above

    def stat(self, path: WorkspacePath) -> Stat | None:
        """What is there, of a link the link itself; None where nothing is."""
        folder, _, name = path.rpartition("/")
        try:
            with self._opened(folder) as parent:
                return stat_of(os.stat(name, dir_fd=parent, follow_symlinks=False))
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return None
            raise

    def open(self, path: WorkspacePath) -> int:
        """A descriptor to read a plain file from."""
        folder, _, name = path.rpartition("/")
        with self._opened(folder) as parent:
            # Not to wait for whoever writes into a FIFO that was put in its place.
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=parent)

    def target(self, path: WorkspacePath) -> bytes:
        """Where a symbolic link leads."""
        folder, _, name = path.rpartition("/")
        with self._opened(folder) as parent:
            return os.readlink(os.fsencode(name), dir_fd=parent)

    def list(self, folder: str) -> list[tuple[bytes, Stat]]:
        """What is in a folder ("" is the root), in no order."""
        with self._opened(folder) as opened, os.scandir(opened) as found:
            return [(os.fsencode(each.name), stat_of(each.stat(follow_symlinks=False))) for each in found]

    @contextmanager
    def _opened(self, folder: str, *, make: bool = False) -> Generator[int]:
        descriptor = self._folder(folder, make=make)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _folder(self, folder: str, *, make: bool = False) -> int:
        descriptor = os.dup(self._root)
        try:
            for part in folder.split("/") if folder else ():
                below = _enter(part, descriptor, make=make)
                os.close(descriptor)
                descriptor = below
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


@contextmanager
def open_folder(path: Path, *, to_write: bool = False) -> Generator[Folder]:
    """The folder at `path`, which may itself be a link to one. Only one at a time has it `to_write`.

    Raises:
        Conflict: another command writes into it.
        OSError: as the system does.
    """
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if to_write:
            _hold(root)
        yield Folder(root, _umask())
    finally:
        os.close(root)


def stat_of(found: os.stat_result) -> Stat:
    return Stat(
        kind=_KINDS.get(stat.S_IFMT(found.st_mode), EntryKind.OTHER),
        size=found.st_size,
        mode=stat.S_IMODE(found.st_mode),
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        inode=found.st_ino,
    )


def told(error: OSError, what: str) -> VaporformError:
    """The same failure in words; `what` is what it happened to."""
    match error.errno:
        case errno.ELOOP:
            return InvalidArgument(f"{what} lies behind a symbolic link, which is not followed", hint=_ANOTHER)
        case errno.ENOTDIR | errno.EISDIR | errno.ENOTEMPTY | errno.EEXIST:
            return InvalidArgument(f"{what} is in the way of, or below, something of another kind", hint=_ANOTHER)
        case errno.ENOSPC | errno.EDQUOT:
            return LimitReached(f"there is no space left for {what}", hint="Free space on that disk, then repeat.")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return PermissionDenied(
                f"{what} cannot be used: {error.strerror}", hint="Choose a folder that you may read and write."
            )
        case _:
            return InvalidArgument(f"{what} cannot be used: {error.strerror}", hint=_ANOTHER)


def _umask() -> int:
    """It cannot be asked for without being set: for that moment to one that lets nobody else have anything."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _temporary(name: str) -> str:
    """The same each time for one file, so that what a kill left is met by whoever repeats the command."""
    return TEMPORARY + hashlib.sha256(name.encode()).hexdigest()[:16]


def _clear(temporary: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=parent)


def _hold(root: int) -> None:
    """The kernel lets go of it when its holder dies."""
    try:
        fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            "another command writes into this folder at the moment", hint="Repeat this one when that has ended."
        ) from error


def _enter(part: str, descriptor: int, *, make: bool) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=descriptor)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(part, 0o755, dir_fd=descriptor)
    return os.open(part, _FOLDER, dir_fd=descriptor)
