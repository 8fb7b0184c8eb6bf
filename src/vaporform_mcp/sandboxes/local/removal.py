"""Removing a folder whose content commands made as nasty as they liked."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["remove"]


def remove(folder: Path) -> None:
    """Remove a folder with everything in it. Nothing in it may be in use. What is not there is no fault.

    It never follows a link, needs no permission that the owner cannot give itself, and takes neither a path nor a
    descriptor for each level: every folder found is first moved to the top, so that there is only one level.

    Raises:
        OSError: something cannot be removed.
    """
    try:
        top = _opened(str(folder), None)
    except FileNotFoundError:
        return
    try:
        names = (f".vf-{number}" for number in itertools.count())
        waiting = _emptied(top, top, names)
        while waiting:
            name = waiting.pop()
            descriptor = _opened(name, top)
            try:
                waiting += _emptied(descriptor, top, names)
            finally:
                os.close(descriptor)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    folder.rmdir()


def _emptied(descriptor: int, top: int, names: Iterator[str]) -> list[str]:
    """Remove what a folder has in it, and move the folders among it to the top; their names there."""
    with os.scandir(descriptor) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    moved: list[str] = []
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=descriptor)
            continue
        if descriptor != top:
            _make_writable(name, descriptor)
            free = next(new for new in names if not _exists(new, top))
            os.rename(name, free, src_dir_fd=descriptor, dst_dir_fd=top)
            name = free
        moved.append(name)
    return moved


def _opened(name: str, parent: int | None) -> int:
    """The folder, open to be read, once its owner may do with it what it likes."""
    _make_writable(name, parent)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _make_writable(name: str, parent: int | None) -> None:
    # By descriptor: between a look at a name and a change of it, the name could become a link.
    held = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(held).st_mode & 0o700 != 0o700:
            Path(f"/proc/self/fd/{held}").chmod(0o700)
    finally:
        os.close(held)


def _exists(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
