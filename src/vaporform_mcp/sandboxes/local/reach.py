"""Letting the user that commands run as reach a sandbox's folders, where nothing but file permissions is in the way.

Only a server that runs as root needs it: its own folders are closed to everybody else, and at the restricted level
nothing shows them to a command under another path.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.removal import remove

__all__ = ["is_passable", "make_reachable", "remove_all"]

_ELSEWHERE = Path("/var/lib/vaporform-mcp")
_MOVED = ("files", "home")
_OF = "of"
"""In each folder there, a link that tells people whose it is: the data folder."""


def is_passable(path: Path) -> bool:
    """Whether every user may pass through the folder, and through all that it lies in."""
    real = Path(os.path.realpath(path))
    try:
        return all(one.stat().st_mode & stat.S_IXOTH for one in (real, *real.parents))
    except OSError:
        return False


def make_reachable(folder: Folder) -> None:
    """See to it that every user may pass through to the sandbox's base. Only under the folder's lock.

    What has a name that anybody could guess is then private by its own mode. Where the data folder lies in one that is
    closed, as root's home is, the base moves out of it, and stays there.

    Raises:
        SandboxUnavailable: there is no such place.
        OSError: the disk refuses it.
    """
    if layout.elsewhere(folder.root) is not None:
        return
    data = folder.root.parent.parent
    if is_passable(data.parent):
        for path in (data, folder.root.parent, folder.root):
            path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IXOTH)
        return
    try:
        base = _made(data, folder.root.name) or _made(data, folder.root.name)
        if base is None:
            raise FileNotFoundError(0, "it is removed again and again")
        for name in _MOVED:
            (folder.root / name).rename(base / name)
    except OSError as error:
        raise SandboxUnavailable(
            "commands would run as a user that cannot reach this server's data folder",
            hint="Set VAPORFORM_DATA_DIR to a folder that every user may pass through, such as "
            f"{_ELSEWHERE}, or run the server as an ordinary user.",
        ) from error
    layout.place_elsewhere(folder, base)


def remove_all(root: Path) -> None:
    """Remove a sandbox's folder, which nothing uses any more, with its base. Raises `OSError`."""
    if (base := layout.elsewhere(root)) is not None:
        remove(base)
        with suppress(OSError):  # others are in it
            if [one.name for one in base.parent.iterdir()] == [_OF]:
                (base.parent / _OF).unlink()
                base.parent.rmdir()
    remove(root)


def _made(data: Path, name: str) -> Path | None:
    """A new folder; its name is not that of an earlier one, which may still be on its way out.

    None where somebody else took away the folder that it was to be in, which had been empty.
    """
    group = hashlib.sha256(os.fsencode(os.path.realpath(data))).hexdigest()[:16]
    base = _ELSEWHERE / group / f"{name}-{secrets.token_hex(4)}"
    for path in (_ELSEWHERE, _ELSEWHERE / group, base):
        try:
            path.mkdir(mode=0o711, exist_ok=True)
            seen = path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
            raise PermissionError(0, "it belongs to another user")
        path.chmod(0o711)
    with suppress(FileExistsError):
        (base.parent / _OF).symlink_to(os.path.realpath(data))
    return base
