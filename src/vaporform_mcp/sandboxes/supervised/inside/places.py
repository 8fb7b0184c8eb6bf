"""Where a path of a command's leads, as it would for the command, and whether that is the sandbox's own."""

from __future__ import annotations

import errno
import os
import re
import struct

from .libc import call, checked, library

__all__ = ["AT_FDCWD", "Places", "have_own_folder", "is_at", "open_folder", "stand_where"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .notices import Notice

AT_FDCWD = -100
_HOW = struct.Struct("=QQQ")
_NO_MAGIC_LINKS = 2
_CLONE_FS = 0x200
_OWN_DESCRIPTOR = re.compile(rb"/(?:proc/(?:self|thread-self|\d+)|dev)/fd/(\d+)")
_NO_FILES = (b"pipe:", b"socket:", b"anon_inode:", b"/memfd:")


class Places:
    """`roots` are the folders that commands may change."""

    def __init__(self, roots: list[str]) -> None:
        self._roots = [os.fsencode(os.path.realpath(root)) for root in roots]

    def open(self, notice: Notice, folder: int, path: bytes, *, follow: bool) -> int:
        """A descriptor that stands for what is at `path`, seen from the command's descriptor `folder`.

        Raises:
            OSError: as the kernel would, and EPERM where it is not the sandbox's own.
        """
        own = _OWN_DESCRIPTOR.fullmatch(path)
        if own is not None and follow:
            return self.open_descriptor(notice, int(own[1]))
        base = os.open(
            f"/proc/{notice.pid}/{'cwd' if folder == AT_FDCWD else f'fd/{folder}'}", os.O_PATH | os.O_CLOEXEC
        )
        flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        try:
            # No magic links: /proc/self would be ours.
            return self._own(
                notice, call("openat2", base, path + b"\0", _HOW.pack(flags, 0, _NO_MAGIC_LINKS), _HOW.size)
            )
        finally:
            os.close(base)

    def open_descriptor(self, notice: Notice, number: int) -> int:
        """The same of what a descriptor of the command's is open on; what is no file of a folder is its own."""
        try:
            opened = os.open(f"/proc/{notice.pid}/fd/{number}", os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            raise OSError(errno.EBADF, "") from None
        return self._own(notice, opened, or_no_file=True)

    def _own(self, notice: Notice, opened: int, *, or_no_file: bool = False) -> int:
        is_own = False
        try:
            where = os.readlink(is_at(opened))
            inside = any(where == root or where.startswith(root + b"/") for root in self._roots)
            is_own = (inside or (or_no_file and where.startswith(_NO_FILES))) and notice.is_valid
        finally:
            if not is_own:
                os.close(opened)
        if not is_own:
            raise OSError(errno.EPERM, "")
        return opened


def open_folder(notice: Notice, path: bytes) -> int:
    """A descriptor that stands for a folder, whosever it is. Raises `OSError` as the kernel would."""
    return _open(notice, AT_FDCWD, path or b".", os.O_DIRECTORY)


def have_own_folder() -> bool:
    """Give this thread a working directory, and a umask, that are not those of the others; containers may deny it."""
    try:
        checked(library.unshare(_CLONE_FS))
    except OSError:
        return False
    return True


def stand_where(notice: Notice) -> None:
    """Take the working directory and the umask of whoever calls. Raises `OSError`."""
    os.chdir(f"/proc/{notice.pid}/cwd")
    os.umask(int(notice.status(b"Umask"), 8))


def _open(notice: Notice, folder: int, path: bytes, flags: int) -> int:
    where = "cwd" if folder == AT_FDCWD else f"fd/{folder}"
    base = os.open(f"/proc/{notice.pid}/{where}", os.O_PATH | os.O_CLOEXEC)
    # No magic links: /proc/self would be ours.
    how = _HOW.pack(os.O_PATH | os.O_CLOEXEC | flags, 0, _NO_MAGIC_LINKS)
    try:
        return call("openat2", base, path + b"\0", how, _HOW.size)
    finally:
        os.close(base)


def is_at(descriptor: int) -> bytes:
    """A path by which a system call finds what the descriptor stands for."""
    return b"/proc/self/fd/%d" % descriptor
