"""A watch over the workspace's folders: which paths may have changed since the last look.

It is inotify(7), read only when somebody asks: the kernel keeps up to `fs.inotify.max_queued_events` meanwhile, and
says so when these were not enough. Whatever the watch cannot vouch for makes it blind, and a whole scan is due.

What inotify does not tell: writes through a mapping before it is given back, and writes to a file by another name than
the one watched. Of the latter, files of several names are told apart (`linked`), and a file that was written and is
gone may have been one; whole scans, which go on in quiet moments, find the rest.
"""

from __future__ import annotations

import errno
import os
import re
import struct

from .libc import checked, library
from .root import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

__all__ = ["Blind", "Touched", "Watch"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# linux/inotify.h
_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 2, 4, 8, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED, _IS_FOLDER = 0x400, 0x800, 0x2000, 0x4000, 0x8000, 0x40000000
_ONLY_FOLDERS, _DO_NOT_FOLLOW = 0x01000000, 0x02000000
_CONTENT = _MODIFY | _ATTRIB | _CLOSE_WRITE
_MASK = (
    *(_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF),
    *(_ONLY_FOLDERS, _DO_NOT_FOLLOW),
)
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, bytes of the name that follows

_READ_BYTES = 256 * 1024
_MAX_BYTES = 4 * 1024 * 1024
MAX_TOUCHED = 5_000
MAX_LOST = 200
MAX_FRESH = 1_000
MAX_LINKED = 1_000

_SHARE = 4
"""Of the watches that a user may have, one part in so many: editors and dev servers need theirs."""

_LEAST_WATCHES = 8192
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_PATH_BYTES = 4096


class Blind(Exception):
    """The watch cannot say what has changed."""


class Touched:
    """`paths` may have changed; `lost` folders went away with what was in them; `fresh` ones are to be listed whole.

    `written` are those of the paths that were written to; `moving` are the cookies of such that were moved away, and
    were not seen to arrive.
    """

    __slots__ = ("fresh", "lost", "moving", "paths", "written")

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.lost: set[str] = set()
        self.fresh: set[str] = set()
        self.written: set[str] = set()
        self.moving: set[int] = set()

    def take_file(self, path: str, mask: int, cookie: int) -> None:
        self.paths.add(path)
        if mask & _CONTENT:
            self.written.add(path)
        elif mask & _MOVED_FROM and path in self.written:
            self.written.discard(path)
            self.moving.add(cookie)
        elif mask & _MOVED_TO and cookie in self.moving:
            self.moving.discard(cookie)
            self.written.add(path)

    def require_few(self) -> None:
        if len(self.paths) > MAX_TOUCHED or len(self.lost) > MAX_LOST or len(self.fresh) > MAX_FRESH:
            raise Blind


class Watch:
    """Made by the supervisor; forked workers add to it and read it, and tell what became of it with `report`.

    `prune` are names of folders that are not watched. Folders are relative to the workspace and end in a slash, but
    for the workspace itself, which is "". `linked` are files that have more than one name: a write by another name is
    not told of theirs, so they are to be looked at every time.
    """

    def __init__(self, prune: frozenset[bytes]) -> None:
        """Raises `OSError` where there is no more inotify to be had."""
        self.prune = prune
        self.cursor = 0
        self.descriptor = checked(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._folders: dict[int, str] = {}
        self._most = _most_watches()
        self.linked: set[str] = set()
        self._added: dict[int, str] = {}
        self._dropped: set[int] = set()

    def close(self) -> None:
        """Safe to call twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def report(self) -> dict[str, object]:
        """What a worker did to its copy, for `heed` of the original."""
        return {
            "added": list(self._added.items()),
            "dropped": list(self._dropped),
            "linked": list(self.linked),
        }

    def heed(self, report: Mapping[str, Iterable[object]]) -> None:
        for number in report["dropped"]:
            if isinstance(number, int):
                self._folders.pop(number, None)
        for item in report["added"]:
            match item:
                case [int() as number, str() as folder]:
                    self._folders[number] = folder
                case _:
                    pass
        self.linked = {str(path) for path in report["linked"]}

    def add(self, place: str, folder: str) -> None:
        """Watch a folder, which `place` names from the working directory; it must be listed afterwards only.

        Raises `Blind`.
        """
        # Without its slash, with which a link in its place would be followed.
        number = library.inotify_add_watch(self.descriptor, place.rstrip("/").encode() or b".", sum(_MASK))
        try:
            checked(number)
        except OSError as error:
            if error.errno in _GONE:
                return  # then it cannot be listed either, which the scan sees
            raise Blind from None
        if self._folders.get(number, folder) != folder:
            raise Blind  # it was moved just now, or was got to by a link: what is told of it could be of either name
        self._folders[number] = self._added[number] = folder
        self._dropped.discard(number)
        if len(self._folders) > self._most:
            raise Blind

    def note_linked(self, path: str) -> None:
        """Raises `Blind`."""
        self.linked.add(path)
        if len(self.linked) > MAX_LINKED:
            raise Blind

    def drain(self) -> Touched:
        """What has happened since it was last read. Raises `Blind`."""
        touched = Touched()
        left = _MAX_BYTES
        while left > 0:
            try:
                data = os.read(self.descriptor, _READ_BYTES)
            except BlockingIOError:
                return touched
            left -= len(data)
            at = 0
            while at < len(data):
                number, mask, cookie, size = _EVENT.unpack_from(data, at)
                at += _EVENT.size + size
                self._take(number, mask, cookie, data[at - size : at].rstrip(b"\0"), touched)
            touched.require_few()
        raise Blind

    def _take(self, number: int, mask: int, cookie: int, name: bytes, touched: Touched) -> None:
        if mask & _OVERFLOW:
            raise Blind
        folder = self._folders.get(number)
        if folder is None:
            return
        if not name:
            self._take_own(number, mask, folder, touched)
            return
        if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
            return
        path = _path(folder, name)
        if mask & _IS_FOLDER:
            self._take_folder(path, mask, name, touched)
        else:
            touched.take_file(path, mask, cookie)

    def _take_folder(self, path: str, mask: int, name: bytes, touched: Touched) -> None:
        """Of a folder in a watched one."""
        if mask & (_DELETE | _MOVED_FROM):
            touched.paths.add(path)
            touched.lost.add(path)
        if mask & _MOVED_FROM:
            self._drop_under(path + "/")
        if mask & (_CREATE | _MOVED_TO):
            touched.paths.add(path)
            if name not in self.prune:
                touched.fresh.add(path)

    def _take_own(self, number: int, mask: int, folder: str, touched: Touched) -> None:
        """Of the watched folder itself."""
        if mask & _UNMOUNT or (not folder and mask & (_IGNORED | _DELETE_SELF | _MOVE_SELF)):
            raise Blind
        if mask & _IGNORED:
            del self._folders[number]
            self._added.pop(number, None)
            self._dropped.add(number)
        elif mask & _ATTRIB:
            if not folder:
                raise Blind
            # It may have become readable, or no longer be.
            touched.fresh.add(folder[:-1])

    def _drop_under(self, folder: str) -> None:
        """What was in a folder that moved has other paths now, or none here."""
        for number in [number for number, known in self._folders.items() if known.startswith(folder)]:
            library.inotify_rm_watch(self.descriptor, number)
            del self._folders[number]
            self._added.pop(number, None)
            self._dropped.add(number)


def _path(folder: str, name: bytes) -> str:
    """Raises `Blind` for what no workspace's path can be: a whole scan names it."""
    try:
        path = folder + name.decode()
    except UnicodeDecodeError:
        raise Blind from None
    if _CONTROL.search(path) or len(path.encode()) > _MAX_PATH_BYTES:
        raise Blind
    return path


def _most_watches() -> int:
    try:
        with open("/proc/sys/fs/inotify/max_user_watches", "rb") as file:
            return max(int(file.read()), _LEAST_WATCHES) // _SHARE
    except (OSError, ValueError):
        return _LEAST_WATCHES // _SHARE
