"""Notices of the kernel's: a command's system call that waits for what the supervisor says.

Structures and requests: linux/seccomp.h; the rules for their use: seccomp_unotify(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from .libc import call, checked, library

__all__ = ["Notice", "receive"]

_NOTICE = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_ID = struct.Struct("=Q")
_ADDITION = struct.Struct("=QIIII")
_RECEIVE, _SEND, _IS_VALID, _ADD = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_CONTINUE = 1
_AT_NUMBER = 1

_PIDFD_THREAD = os.O_EXCL
_PAGE = 4096
_MAX_PATH = 4096


class Notice:
    """`call` is the system call's number, `pid` the thread that makes it, `arguments` its six registers."""

    __slots__ = ("_id", "_listener", "arguments", "call", "pid")

    def __init__(self, listener: int, raw: bytes) -> None:
        self._listener = listener
        self._id, self.pid, _, self.call, _, _, *self.arguments = _NOTICE.unpack(raw)

    def integer(self, index: int) -> int:
        """An argument, as the C int that it is."""
        value = self.arguments[index] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    # Looking at who calls --------------------------------------------------------------------------------------

    @property
    def is_valid(self) -> bool:
        """Whether the call still waits; if so, `pid` is still that thread, and was when it was looked at."""
        try:
            fcntl.ioctl(self._listener, _IS_VALID, _ID.pack(self._id))
        except OSError:
            return False
        return True

    def memory(self, index: int, size: int) -> bytes:
        """What lies where an argument points to. Read once: it may be another thing at the next look.

        Raises:
            OSError: EFAULT, or whoever calls cannot be looked into.
        """
        return self._peek(self.arguments[index], size)

    def text(self, index: int) -> bytes:
        """The string that an argument points to. Raises `OSError`."""
        address = self.arguments[index]
        found = b""
        while len(found) < _MAX_PATH:
            # Up to the end of a page: the next one may not be there.
            more = self._peek(address + len(found), _PAGE - (address + len(found)) % _PAGE)
            end = more.find(b"\0")
            if end >= 0:
                return found + more[:end]
            found += more
        raise OSError(errno.ENAMETOOLONG, "")

    def _peek(self, address: int, size: int) -> bytes:
        content = ctypes.create_string_buffer(size)
        here = (ctypes.c_size_t * 2)(ctypes.addressof(content), size)
        there = (ctypes.c_size_t * 2)(address, size)
        nothing, one = ctypes.c_ulong(0), ctypes.c_ulong(1)
        if checked(library.process_vm_readv(self.pid, here, one, there, one, nothing)) != size:
            raise OSError(errno.EFAULT, "")
        if not self.is_valid:
            raise OSError(errno.ESRCH, "")
        return content.raw

    def copy_of(self, number: int) -> int:
        """A descriptor of ours for the file behind theirs. Raises `OSError`: EBADF, or EPERM where that is refused."""
        try:
            process = call("pidfd_open", self.pid, _PIDFD_THREAD)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # The kernel knows only whole processes.
            process = call("pidfd_open", int(self.status(b"Tgid")), 0)
        try:
            copy = call("pidfd_getfd", process, number, 0)
        finally:
            os.close(process)
        if not self.is_valid:
            os.close(copy)
            raise OSError(errno.ESRCH, "")
        return copy

    def status(self, name: bytes) -> bytes:
        """A line of what /proc tells of whoever calls. Raises `OSError`."""
        with open(f"/proc/{self.pid}/status", "rb") as source:
            for line in source:
                if line.startswith(name + b":"):
                    return line.split()[1]
        raise OSError(errno.ESRCH, "")

    # Answering -------------------------------------------------------------------------------------------------

    def answer(self, value: int = 0) -> None:
        """The call returns this; below zero, the negative of an errno. It may be gone already."""
        self._send(value if value >= 0 else 0, min(value, 0), 0)

    def let_through(self) -> None:
        """The kernel does as was asked: only where nothing in memory matters, which may change until then."""
        self._send(0, 0, _CONTINUE)

    def put(self, descriptor: int, number: int, *, close_on_exec: bool) -> None:
        """Give whoever calls our descriptor in the place of theirs. Raises `OSError`."""
        flags = os.O_CLOEXEC if close_on_exec else 0
        fcntl.ioctl(self._listener, _ADD, _ADDITION.pack(self._id, _AT_NUMBER, descriptor, number, flags))

    def _send(self, value: int, error: int, flags: int) -> None:
        try:
            fcntl.ioctl(self._listener, _SEND, _ANSWER.pack(self._id, value, error, flags))
        except OSError:
            return


def receive(listener: int) -> Notice:
    """Wait for the next. Raises `OSError` where one went away while it was taken, or there will be none."""
    raw = bytearray(_NOTICE.size)
    fcntl.ioctl(listener, _RECEIVE, raw)
    return Notice(listener, bytes(raw))
