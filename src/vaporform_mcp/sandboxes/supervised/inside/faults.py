"""Refusals: what a reply says instead of ok."""

from __future__ import annotations

import errno
import os

__all__ = ["Refused", "refusal", "shown"]

_NO_SPACE = "the sandbox's disk is full"

_MEANINGS: dict[int, tuple[str, str, str]] = {
    errno.ENOENT: ("not_found", "{path} does not exist", "Check the path, for example by listing its folder."),
    errno.ENOTDIR: ("not_a_directory", "a part of {path} is a file, not a folder", "Choose another path."),
    errno.EEXIST: ("not_a_directory", "a part of {path} is not a folder", "Choose another path."),
    errno.EISDIR: ("is_directory", "{path} is a folder", "Name a file."),
    errno.ENAMETOOLONG: ("invalid_path", "{path} is too long for the file system", "Use shorter names."),
    errno.ELOOP: ("invalid_path", "{path} goes through symlinks that lead in a circle", "Remove one of the links."),
    errno.EACCES: ("permission_denied", "the permissions of {path} forbid it", "Change them with chmod."),
    errno.EPERM: ("permission_denied", "{path} may not be changed", "Choose another path."),
    errno.EROFS: ("permission_denied", "{path} is on a read-only file system", "Choose another path."),
    errno.ENOSPC: ("limit", _NO_SPACE + ": {path}", "Remove files that are not needed, then try again."),
    errno.EDQUOT: ("limit", _NO_SPACE + ": {path}", "Remove files that are not needed, then try again."),
    errno.EFBIG: ("limit", "{path} would be larger than a file may be", "Write less, or several files."),
    errno.EMFILE: ("limit", "the sandbox has too many files open", "Stop processes that are not needed."),
    errno.ENFILE: ("limit", "the machine has too many files open", "Stop processes that are not needed."),
    errno.EAGAIN: ("limit", "no more processes can be started in the sandbox", "Stop some of those that run."),
    errno.ENOMEM: ("limit", "the machine has no memory left for this", "Stop processes that are not needed."),
    errno.E2BIG: ("too_large", "the command with its environment is too long", "Write it to a file and run that."),
    errno.ENXIO: ("invalid_argument", "{path} is not a regular file", "Name a regular file."),
    errno.ENODEV: ("invalid_argument", "{path} is not a regular file", "Name a regular file."),
}


class Refused(Exception):
    """A request that gets an error. `code` is one of `vaporform_mcp.errors`; the texts are shown to the model."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def fields(self) -> dict[str, object]:
        said: dict[str, object] = {"code": self.code, "message": self.message}
        if self.hint:
            said["hint"] = self.hint
        return said


def refusal(error: OSError, path: str) -> Refused:
    """What the failure of a system call means to whoever asked for `path`."""
    number = error.errno or 0
    if number in _MEANINGS:
        code, message, hint = _MEANINGS[number]
        return Refused(code, message.format(path=shown(path)), hint)
    return Refused("internal", f"{shown(path)}: {os.strerror(number) if number else 'the system call failed'}")


def shown(path: str) -> str:
    """A path for a message: quoted, never endless."""
    return repr(path if len(path) <= 200 else path[:200] + "…") if path else "the workspace"
