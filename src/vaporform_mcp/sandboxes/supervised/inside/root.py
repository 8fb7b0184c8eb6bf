"""The workspace's folder, and the resolving of paths so that none leads out of it.

Paths are handled as bytes: what a name means must not depend on a locale.
"""

from __future__ import annotations

import errno
import os
import stat

from .faults import Refused, shown

__all__ = ["TEMPORARY_PREFIX", "TEMPORARY_SUFFIX", "Root", "checked", "describe"]

TEMPORARY_PREFIX = b".vaporform-"
TEMPORARY_SUFFIX = b".tmp"

_MAX_LINKS = 8

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}


class Root:
    """The workspace, by a descriptor that stays valid when it is moved. It becomes the working directory."""

    def __init__(self, path: str) -> None:
        os.chdir(path)
        self.descriptor = os.open(".", _FOLDER)
        self._real = os.getcwdb()

    @property
    def is_gone(self) -> bool:
        """Whether somebody deleted the folder itself; what is written there now would be lost."""
        return os.fstat(self.descriptor).st_nlink == 0

    def require(self) -> None:
        if self.is_gone:
            raise Refused("sandbox_lost", "the workspace's folder was deleted", "Repeat the call: it is made anew.")

    def open_parent(self, path: bytes, said: str) -> tuple[int, bytes]:
        """A descriptor of the folder in which the last part of `path` lies, symlinks followed, and that part.

        Raises:
            OSError: it does not exist, or is no folder.
            Refused: it is not inside the workspace.
        """
        folder, _, name = path.rpartition(b"/")
        return self.open_folder(folder or b".", said), name

    def open_folder(self, path: bytes, said: str, *, within: int | None = None) -> int:
        descriptor = os.open(path, _FOLDER, dir_fd=self.descriptor if within is None else within)
        return self._inside(descriptor, said)

    def open_path(self, path: bytes, said: str, *, follow: bool = True) -> int:
        """A descriptor that stands for whatever is at `path`, without opening it: no FIFO waits, no device acts."""
        flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        return self._inside(os.open(path or b".", flags, dir_fd=self.descriptor), said)

    def make_parent(self, path: bytes, said: str) -> tuple[int, bytes, list[bytes]]:
        """As `open_parent`, making the folders that are missing; the third item names these, outermost first."""
        try:
            return *self.open_parent(path, said), []
        except FileNotFoundError:
            pass
        folder, _, name = path.rpartition(b"/")
        made: list[bytes] = []
        current = os.dup(self.descriptor)
        try:
            walked = b""
            # One by one, each looked at before the next is made: a symlink on the way may lead out.
            for part in folder.split(b"/"):
                walked = walked + b"/" + part if walked else part
                current = self._step(current, part, walked, said, made)
        except BaseException:
            os.close(current)
            self.unmake(made)
            raise
        return current, name, made

    def unmake(self, folders: list[bytes]) -> None:
        """Remove folders that `make_parent` made, where they are still empty."""
        for folder in reversed(folders):
            try:
                os.rmdir(folder, dir_fd=self.descriptor)
            except OSError:
                return

    def relative(self, descriptor: int) -> bytes:
        """Where an open folder is now, relative to the workspace; b"" for the workspace itself."""
        return _real_path(descriptor)[len(self._real) + 1 :]

    def target_of_link(self, path: bytes, said: str) -> bytes:
        """What a symlink finally names, relative to the workspace, whether or not it exists.

        The kernel resolves what is there, within its own bounds. From the first link on whose target is missing it is
        followed here, link by link, and not for long.
        """
        try:
            descriptor = self.open_path(path, said)
        except FileNotFoundError:
            return self._missing_target(path, said)
        try:
            return self.relative(descriptor)
        finally:
            os.close(descriptor)

    def _missing_target(self, path: bytes, said: str) -> bytes:
        folder, name = self.open_parent(path, said)
        try:
            for _ in range(_MAX_LINKS):
                try:
                    way, slash, name = os.readlink(name, dir_fd=folder).rpartition(b"/")
                except OSError as error:
                    if error.errno not in {errno.EINVAL, errno.ENOENT}:
                        raise
                    return self._named(_real_path(folder) + b"/" + name, said)
                if name in {b"", b".", b".."}:
                    raise IsADirectoryError(errno.EISDIR, "")
                try:
                    following = os.open(way or slash or b".", _FOLDER, dir_fd=folder)
                except FileNotFoundError:
                    if b".." in way.split(b"/"):
                        raise
                    return self._named(os.path.join(_real_path(folder), way, name), said)
                os.close(folder)
                folder = following
            raise OSError(errno.ELOOP, "")
        finally:
            os.close(folder)

    def _named(self, real: bytes, said: str) -> bytes:
        real = os.path.normpath(real)
        if not real.startswith(self._real + b"/"):
            raise _leads_out(said)
        return real[len(self._real) + 1 :]

    def _step(self, current: int, part: bytes, walked: bytes, said: str, made: list[bytes]) -> int:
        try:
            following = self.open_folder(part, said, within=current)
        except FileNotFoundError:
            try:
                os.mkdir(part, 0o755, dir_fd=current)
            except FileExistsError:
                self.target_of_link(walked, said)  # of a link to what is not there: refused where that is outside
                raise
            made.append(walked)
            following = self.open_folder(part, said, within=current)
        os.close(current)
        return following

    def _inside(self, descriptor: int, said: str) -> int:
        real = _real_path(descriptor)
        if real != self._real and not real.startswith(self._real + b"/"):
            os.close(descriptor)
            raise _leads_out(said)
        return descriptor


def checked(path: str) -> bytes:
    """A path as the file system takes it. Refuses what could not be one inside the workspace."""
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        raise Refused("invalid_path", "the path is not valid Unicode text", "Send it as UTF-8.") from None
    if b"\0" in raw or raw.startswith(b"/") or b".." in raw.split(b"/"):
        raise Refused("invalid_path", f"{shown(path)} is not a path in the workspace", "Give one relative to it.")
    return raw


def describe(result: os.stat_result) -> list[object]:
    """The wire's *stat*."""
    mode = result.st_mode
    return [
        _KINDS.get(stat.S_IFMT(mode), "o"),
        result.st_size,
        stat.S_IMODE(mode),
        result.st_mtime_ns,
        result.st_ctime_ns,
        result.st_ino,
    ]


def _real_path(descriptor: int) -> bytes:
    return os.readlink(b"/proc/self/fd/%d" % descriptor)


def _leads_out(said: str) -> Refused:
    return Refused(
        "invalid_path", f"{shown(said)} leads out of the workspace by a symlink", "Use a path that stays inside it."
    )
