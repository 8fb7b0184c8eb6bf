"""What SQLite and the file system say when the store's file cannot be used, in words that name the mend."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from vaporform_mcp.errors import StoreUnavailable

__all__ = ["FILE", "another_file", "is_busy", "is_lasting", "other_tables", "translated"]

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
_OTHER_TABLES = (
    "{file} does not have the tables of its version: another program has changed it",
    (
        f"Stop the servers that use it and put back a copy from before, or move it away ({_NAMED}): a new store is "
        "made at the next call."
    ),
)
_ANOTHER_FILE = (
    "{file} was removed, moved away or replaced while this server runs",
    (
        f"Put it back in its place ({_NAMED}): everything then goes on by itself, and the sandboxes do so meanwhile. "
        "Only a server that is started anew begins with what is there now."
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

# What SQLite has no code of its own for. Statements of ours are right where the tables are, which tests run them on.
_BY_TEXT = {
    "no such table": _OTHER_TABLES,
    "no such column": _OTHER_TABLES,
    "has no column named": _OTHER_TABLES,
    "no such index": _OTHER_TABLES,
    "values were supplied": _OTHER_TABLES,
    "Could not decode to UTF-8": _DAMAGED,
}

_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EIO: _INPUT_OUTPUT,
    errno.EWOULDBLOCK: _LOCKED,
}


@contextmanager
def translated() -> Generator[None]:
    """Turn the failures of the file into `StoreUnavailable`; a bug of ours passes as it is."""
    try:
        yield
    except sqlite3.Error as error:
        told = _told(error)
        if told is None:
            raise
        raise _unavailable(told) from error
    except OSError as error:
        raise _unavailable(_BY_ERRNO.get(error.errno or 0, _CANNOT_OPEN)) from error


def is_lasting(error: sqlite3.Error) -> bool:
    """Whether the connection that raised it should be given up, so that the next call sees a mended file."""
    return _told(error) is not None and not is_busy(error)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else only has the file locked at the moment."""
    return _primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def other_tables() -> StoreUnavailable:
    """The tables are not those that the file's version says."""
    return _unavailable(_OTHER_TABLES)


def another_file() -> StoreUnavailable:
    """In the place of the file that was used so far is none, or another one."""
    return _unavailable(_ANOTHER_FILE)


def _told(error: sqlite3.Error) -> tuple[str, str] | None:
    """None for what is a bug of ours."""
    if (told := _BY_CODE.get(_primary_code(error))) is not None:
        return told
    return next((told for said, told in _BY_TEXT.items() if said in str(error)), None)


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of the sqlite3 module itself, such as the use of a closed connection, bear no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _unavailable(told: tuple[str, str]) -> StoreUnavailable:
    message, hint = told
    return StoreUnavailable(message.format(file=FILE), hint=hint)
