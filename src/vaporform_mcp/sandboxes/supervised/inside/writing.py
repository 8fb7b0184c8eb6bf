"""Replacing and removing files, each at once or not at all."""

from __future__ import annotations

import errno
import os
import stat

from .faults import Refused, refusal, shown
from .root import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, checked, describe

__all__ = ["Draft", "FileToBe", "remove", "write"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .root import Root

NEW_MODE = 0o644
MAX_MODE = 0o7777


class FileToBe:
    """A file of a `write`: `mode` None keeps that of the file replaced; `expected` is the *stat* it must have."""

    __slots__ = ("content", "expected", "is_link", "mode", "path")

    def __init__(self, path: str, content: bytes, mode: int | None, expected: object, *, is_link: bool) -> None:
        self.path = path
        self.content = content
        self.mode = mode
        self.expected = expected
        self.is_link = is_link

    @staticmethod
    def parse(record: dict[str, object], data: bytes, position: int) -> FileToBe:
        path, mode, size, kind = record.get("path"), record.get("mode"), record.get("size"), record.get("kind", "f")
        if not isinstance(path, str) or not isinstance(size, int) or kind not in {"f", "l"}:
            raise Refused("invalid_argument", "a file of the request lacks its path, kind or size")
        if not 0 <= size <= len(data) - position or (mode is not None and not isinstance(mode, int)):
            raise Refused("invalid_argument", "a file of the request has a mode or size that is none")
        return FileToBe(path, data[position : position + size], mode, record.get("expected"), is_link=kind == "l")


class Draft:
    """A file on its way: written beside where it will be, under a name that scans never list.

    Whoever makes one calls `commit` or `abort` at last; either also closes it.
    """

    def __init__(self, root: Root, path: str, mode: int | None, expected: object) -> None:
        """Raises `Refused`."""
        self._root = root
        self._expected = expected
        self._said = path
        self._folder = -1
        self._content = -1
        self._made: list[bytes] = []
        self._temporary = _temporary_name()
        try:
            self._place(checked(path))
            self._create(mode)
        except OSError as error:
            self.abort()
            raise refusal(error, path) from None
        except Refused:
            self.abort()
            raise

    def append(self, data: bytes) -> None:
        """Raises `Refused`, for example where the disk is full; then only `abort` is left to do."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._content, view) :]
        except OSError as error:
            raise refusal(error, self._said) from None

    def commit(self, *, flush: bool) -> dict[str, object]:
        """Put it in its place; answers with what the wire tells of a file written. Raises `Refused`.

        With `flush`, its content is on the disk before: a power loss then leaves the old file or this one whole.
        """
        try:
            if flush:
                os.fsync(self._content)
            _check_expected(self._name, self._folder, self._expected, self._said)
            os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            described = _written(self._root, self._folder, self._name, describe(os.fstat(self._content)))
        except OSError as error:
            self.abort()
            raise refusal(error, self._said) from None
        except Refused:
            self.abort()
            raise
        self._close()
        return described

    def abort(self) -> None:
        """Leave nothing of it; safe to call twice."""
        if self._content >= 0:
            _unlink(self._temporary, self._folder)
        self._close()
        self._root.unmake(self._made)
        self._made = []

    def _place(self, path: bytes) -> None:
        self._folder, self._name, self._made = self._root.make_parent(path, self._said)
        if not self._name:
            raise _is_directory(self._said)
        existing = _lstat(self._name, self._folder)
        if existing is not None and stat.S_ISLNK(existing.st_mode):
            # Written through, as every program does; the link stays.
            os.close(self._folder)
            self._folder = -1
            target = self._root.target_of_link(path, self._said)
            self._folder, self._name, self._made = self._root.make_parent(target, self._said)
            existing = _lstat(self._name, self._folder)
            if existing is not None and stat.S_ISLNK(existing.st_mode):
                raise OSError(errno.ELOOP, "")

    def _create(self, mode: int | None) -> None:
        existing = _lstat(self._name, self._folder)
        if existing is not None:
            _check_replaceable(existing, self._said)
        if mode is None:
            mode = stat.S_IMODE(existing.st_mode) if existing is not None and _is_file(existing) else NEW_MODE
        elif not 0 <= mode <= MAX_MODE:
            raise Refused("invalid_argument", f"{mode} is not a file's mode", "Use permission bits, such as 0o644.")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._content = os.open(self._temporary, flags, 0o600, dir_fd=self._folder)
        # Told apart from the creation, since that is subject to the umask.
        os.fchmod(self._content, mode)

    def _close(self) -> None:
        for descriptor in (self._content, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._content = self._folder = -1


def write(root: Root, file: FileToBe, *, flush: bool) -> dict[str, object]:
    """Create or replace one file or symlink; answers with its stat and path. Raises `Refused`."""
    if file.is_link:
        return _write_link(root, file)
    draft = Draft(root, file.path, file.mode, file.expected)
    try:
        draft.append(file.content)
    except Refused:
        draft.abort()
        raise
    return draft.commit(flush=flush)


def remove(root: Root, path: str) -> None:
    """Remove a file or symlink, and the folders that this leaves empty. What is not there is removed already."""
    try:
        folder, name = root.open_parent(checked(path), path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise refusal(error, path) from None
    try:
        if not name:
            raise _is_directory(path)
        os.unlink(name, dir_fd=folder)
        emptied = root.relative(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise refusal(error, path) from None
    finally:
        os.close(folder)
    while emptied:
        try:
            os.rmdir(emptied, dir_fd=root.descriptor)
        except OSError:
            return
        emptied = emptied.rpartition(b"/")[0]


def _write_link(root: Root, file: FileToBe) -> dict[str, object]:
    folder, made, temporary = -1, list[bytes](), _temporary_name()
    try:
        folder, name, made = root.make_parent(checked(file.path), file.path)
        existing = _lstat(name, folder)
        if not name:
            raise _is_directory(file.path)
        if existing is not None:
            _check_replaceable(existing, file.path)
        os.symlink(file.content, temporary, dir_fd=folder)
        _check_expected(name, folder, file.expected, file.path)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        return _written(root, folder, name, describe(os.stat(name, dir_fd=folder, follow_symlinks=False)))
    except (OSError, ValueError, Refused) as error:
        if folder >= 0:
            _unlink(temporary, folder)
        root.unmake(made)
        if isinstance(error, OSError):
            raise refusal(error, file.path) from None
        if isinstance(error, ValueError):
            raise Refused("invalid_argument", f"the target of {shown(file.path)} has a NUL in it") from None
        raise
    finally:
        if folder >= 0:
            os.close(folder)


def _temporary_name() -> bytes:
    return TEMPORARY_PREFIX + os.urandom(8).hex().encode() + TEMPORARY_SUFFIX


def _lstat(name: bytes, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _check_replaceable(existing: os.stat_result, said: str) -> None:
    if stat.S_ISDIR(existing.st_mode):
        raise _is_directory(said)
    if not (stat.S_ISREG(existing.st_mode) or stat.S_ISLNK(existing.st_mode)):
        raise Refused(
            "invalid_argument",
            f"{shown(said)} is a device, a socket or a FIFO, not a file",
            "Write to another path, or remove it first with execute_command.",
        )


def _check_expected(name: bytes, folder: int, expected: object, said: str) -> None:
    """Asked right before the change: all servers' writes are made by this one thread, so none comes between."""
    if expected is None:
        return
    existing = _lstat(name, folder)
    if existing is None or describe(existing) != expected:
        raise Refused("conflict", f"{shown(said)} is no longer as it was read", "Read it again and repeat the change.")


def _written(root: Root, folder: int, name: bytes, described: list[object]) -> dict[str, object]:
    """The path is where the file really lies: symlinks on the way there have been followed."""
    parent = root.relative(folder)
    path = parent + b"/" + name if parent else name
    return {"stat": described, "path": path.decode("utf-8", "surrogateescape")}


def _is_file(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode)


def _unlink(name: bytes, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return


def _is_directory(path: str) -> Refused:
    return Refused("is_directory", f"{shown(path)} is a folder", "Name a file.")
