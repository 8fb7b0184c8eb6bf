"""The store's file on the disk: making it, opening it, and telling whether it is still the same one."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["FileId", "connect", "connect_read_only", "identify", "pin"]

FileId = tuple[int, int]
"""The device and inode of a file: another file in its place has another one while the first is open."""

_LOCK_PAUSE_S = 0.02
_SETTINGS = (
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: fsync alone leaves the data in the drive's cache
    # Four times SQLite's own: a sync's blobs then wait for fewer flushes. The log is cut back to the limit.
    "wal_autocheckpoint = 4000",
    "journal_size_limit = 67108864",
    "trusted_schema = OFF",  # a file that was handed over may bring triggers and views
)


def identify(path: Path) -> FileId | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def pin(path: Path, file: FileId) -> int | None:
    """A descriptor that keeps the file's number from being given to another one; None where that cannot be had."""
    if not hasattr(os, "O_PATH"):
        return None
    # Not an ordinary one: closing that would drop SQLite's own locks on the file.
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if (found.st_dev, found.st_ino) == file:
        return descriptor
    os.close(descriptor)
    return None


def connect(path: Path, busy_s: float, *, may_make: bool) -> sqlite3.Connection:
    """A connection in autocommit mode to the file; where it is not there, one is made, empty, if it may be."""
    if may_make and not path.exists():
        _make(path, busy_s)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path, busy_s: float) -> sqlite3.Connection:
    """A connection that changes neither the file nor what lies beside it; the file may be where nothing can."""
    log = path.with_name(path.name + "-wal")
    # Without a log there is nothing to share, and SQLite then needs no lock and no file of its own.
    how = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}", uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path, busy_s: float) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(path.parent, busy_s):
        if path.exists():
            return
        # They belong to a file that was moved away or removed. Servers that still have that one open go on with
        # them; sharing them with the new file would ruin both.
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        # SQLite would let everybody read it. What it makes beside it takes the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


@contextmanager
def _alone_in(folder: Path, busy_s: float) -> Generator[None]:
    """Keeps other processes from making the file at the same time.

    Raises `BlockingIOError` where somebody, who may be another program, keeps the folder locked for longer.
    """
    if sys.platform == "win32":  # an open file can be neither moved nor removed there
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + busy_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
            time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(descriptor)
