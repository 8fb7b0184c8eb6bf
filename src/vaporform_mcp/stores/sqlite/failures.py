"""What SQLite and the file system say when the store's file cannot be used, in words that name the mend."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from vaporform_mcp.errors import StoreUnavailable

__all__ = ["FILE", "is_busy", "is_lasting", "translated"]

FILE = "the store file vaporform.sqlite3"
"""What messages call it: they reach the model, which must not learn a path of the host."""

_NAMED = "`vaporform-mcp doctor` names its path"

_FULL = (
    "there is no space left for {file}",
    "Free space on the disk that holds it (`vaporform-mcp doctor` names its path), then repeat the call.",
)
_READ_ONLY = (
    "{file} or its folder is read-only",
    f"Make both writable for the user who runs the server ({_NAMED}), then repeat the call.",
)
_CANNOT_OPEN = (
    "{file} cannot be opened",
    f"Check that its folder is there and not read-only, and that the user who runs the server may use it ({_NAMED}).",
)
_INPUT_OUTPUT = (
    "the disk failed to read or write {file}",
    f"Check the disk's free space, quota and health ({_NAMED}), then repeat the call.",
)
_LOCKED = (
    "another program has kept {file} locked for too long",
    f"Repeat the call; if it goes on, end the program that has the file open ({_NAMED}).",
)
_FOREIGN = (
    "{file} is not a database of vaporform-mcp",
    f"Move that file away ({_NAMED}); a new store is made at the next call.",
)
_DAMAGED = (
    "{file} is damaged",
    (
        f"Stop the servers that use it and move it away with its -wal and -shm files ({_NAMED}): a new store is made "
        "at the next call. The sqlite3 shell's `.recover` gets out of the old one what is whole."
    ),
)
_NOT_HERE = (
    "{file} is on a file system that cannot lock it, such as a network share",
    "Set VAPORFORM_DATA_DIR to a folder on a local disk.",
)

_BY_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _CANNOT_OPEN,
    sqlite3.SQLITE_IOERR: _INPUT_OUTPUT,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_NOTADB: _FOREIGN,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FORMAT: _DAMAGED,
    sqlite3.SQLITE_PROTOCOL: _NOT_HERE,
    sqlite3.SQLITE_NOLFS: _NOT_HERE,
}

_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EIO: _INPUT_OUTPUT,
}


@contextmanager
def translated() -> Generator[None]:
    """Turn the failures of the file into `StoreUnavailable`; a bug of ours passes as it is."""
    try:
        yield
    except sqlite3.Error as error:
        told = _BY_CODE.get(_primary_code(error))
        if told is None:
            raise
        raise _unavailable(told) from error
    except OSError as error:
        raise _unavailable(_BY_ERRNO.get(error.errno or 0, _CANNOT_OPEN)) from error


def is_lasting(error: sqlite3.Error) -> bool:
    """Whether the connection that raised it should be given up, so that the next call sees a mended file."""
    return _primary_code(error) in _BY_CODE and not is_busy(error)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else only has the file locked at the moment."""
    return _primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of the sqlite3 module itself, such as the use of a closed connection, bear no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _unavailable(told: tuple[str, str]) -> StoreUnavailable:
    message, hint = told
    return StoreUnavailable(message.format(file=FILE), hint=hint)
