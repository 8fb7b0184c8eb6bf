"""A new folder's contents, put together out of sight and shown only when they are complete."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from vaporform_mcp.errors import Conflict
from vaporform_mcp.locks import held_folder
from vaporform_mcp.transfer.folders import TEMPORARY, Folder, open_folder

__all__ = ["staged"]


@contextmanager
def staged(destination: Path) -> Generator[Folder]:
    """A folder inside `destination` whose contents become those of `destination` when the block ends well.

    `destination` is made where it is missing, and must be empty, but for what an earlier run that was killed has left.
    Where the block raises, everything is as it was.

    Raises:
        Conflict: there is something in it.
        OSError: as the system does.
    """
    made = _make(destination)
    try:
        _clear(destination)
        staging = destination / (TEMPORARY + secrets.token_hex(8))
        staging.mkdir(mode=0o700)
        try:
            with open_folder(staging) as folder, held_folder(staging):
                yield folder
                for each in list(staging.iterdir()):
                    each.rename(destination / each.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except BaseException:
        for each in reversed(made):
            with suppress(OSError):
                each.rmdir()
        raise


def _make(folder: Path) -> list[Path]:
    """Make it with those above it; answers with those that were not there, outermost first."""
    missing: list[Path] = []
    while not folder.exists():
        missing.insert(0, folder)
        folder = folder.parent
    for each in missing:
        each.mkdir()
    return missing


def _clear(folder: Path) -> None:
    found = list(folder.iterdir())
    for each in found:
        if not (each.name.startswith(TEMPORARY) and _is_abandoned(each)):
            raise Conflict(
                f"the folder {str(folder)!r} is not empty",
                hint="Name another one, or add --overwrite to write into it: files of the same names are replaced.",
            )
    for each in found:
        shutil.rmtree(each)


def _is_abandoned(staging: Path) -> bool:
    try:
        with held_folder(staging):
            return True
    except OSError:
        return False
