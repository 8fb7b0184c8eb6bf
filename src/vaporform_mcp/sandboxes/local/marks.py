"""The mark of a sandbox: a file beside the workspace's, out of reach of commands."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.layout import Folder

__all__ = ["clear", "read", "tag", "write"]

_HEAD = b"vaporform-mark 1 "
_LONGEST_HEAD = 1024


def read(folder: Folder) -> bytes | None:
    """The mark, if it was written for the files that are there now."""
    try:
        head, found, mark = folder.mark.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    born = layout.birth(folder.files)
    return mark if found and born is not None and head == _HEAD + born.encode() else None


def tag(folder: Folder) -> str | None:
    """Stands for the mark that `read` answers with: each that is written is a file of its own."""
    try:
        with folder.mark.open("rb") as file:
            head, status = file.readline(_LONGEST_HEAD), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    born = layout.birth(folder.files)
    if born is None or head != _HEAD + born.encode() + b"\n":
        return None
    return _tag(status)


def write(folder: Folder, mark: bytes, *, born: str) -> str:
    """Replace the mark; after a crash there is the old one or this one. `born`: that of the files it is about.

    Answers with its `tag`.
    """
    temporary = folder.root / f".mark-{secrets.token_hex(4)}"
    try:
        with temporary.open("xb") as target:
            os.fchmod(target.fileno(), 0o600)  # its folder may be one that others pass through
            target.write(_HEAD + born.encode() + b"\n" + mark)
            target.flush()
            os.fsync(target.fileno())
            written = os.fstat(target.fileno())
        temporary.replace(folder.mark)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync(folder.root)
    return _tag(written)


def clear(folder: Folder) -> None:
    """Remove the mark, durably: one that came back after a crash would be believed."""
    folder.mark.unlink(missing_ok=True)
    _sync(folder.root)


def _tag(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
