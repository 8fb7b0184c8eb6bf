"""Walking the workspace: what the forked worker of a `scan` does."""

from __future__ import annotations

import operator
import os
import re
import stat
import time

from .faults import Refused, refusal, shown
from .frames import encode_frame
from .root import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, checked, describe
from .watching import Blind
from .wire import SCAN_ROWS

__all__ = ["ENTRIES", "REPLY", "WATCHED", "ScanOrder", "rescan", "scan"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .root import Root
    from .watching import Touched, Watch

ENTRIES = b"e"
REPLY = b"r"
WATCHED = b"w"
"""What a frame is to be sent on as; it comes before each in the worker's pipe. `WATCHED` is for the supervisor itself:
what became of the watch, which is still to be relied on."""

MAX_PATH_BYTES = 4096
MAX_NAMED = 100
MAX_UNREADABLE = 10_000
MAX_FRESH_ROWS = 20_000
"""Of all new folders: more than this is a whole scan's work."""

ROWS_CHARACTERS = 1024 * 1024
"""Of paths in one frame, whatever their number."""

MAX_CHARACTERS = 128 * 1024 * 1024
"""Of all paths of a scan: whoever asked keeps them in memory."""

_PATH = operator.itemgetter(0)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ScanOrder:
    __slots__ = ("depth", "limit", "prune", "request_id", "under")

    def __init__(self, *, request_id: int, under: str, prune: frozenset[bytes], depth: int | None, limit: int) -> None:
        self.request_id = request_id
        self.under = under
        self.prune = prune
        self.depth = depth
        self.limit = limit

    @classmethod
    def within(cls, request_id: int, folder: str, prune: frozenset[bytes], limit: int) -> ScanOrder:
        return cls(request_id=request_id, under=folder, prune=prune, depth=None, limit=limit)


def scan(root: Root, order: ScanOrder, watch: Watch | None, send: Callable[[bytes, bytes], None]) -> None:
    """Send every entry in frames of rows, then the reply; a refusal is a reply too.

    `watch`, which nothing is in yet, gets every folder that is listed: the reply's `cursor` is its, or null.
    """
    fields: dict[str, object] = {"id": order.request_id}
    try:
        walk = _Walk(root, order, watch, send)
        ok = walk.run()
        fields["ok"] = {**ok, "cursor": _reported(walk.watch, send)}
    except Refused as error:
        fields["error"] = error.fields()
    send(REPLY, encode_frame(fields))


def rescan(root: Root, request_id: int, watch: Watch, send: Callable[[bytes, bytes], None]) -> None:
    """Send what was touched since the watch was read and is there, and what lies in new folders; then the reply."""
    try:
        ok = _changes(root, request_id, watch, send)
    except Blind:
        ok = {"cursor": None}
    send(REPLY, encode_frame({"id": request_id, "ok": ok}))


def _changes(root: Root, request_id: int, watch: Watch, send: Callable[[bytes, bytes], None]) -> dict[str, object]:
    os.fchdir(root.descriptor)
    touched = watch.drain()
    known = len(watch.linked)
    rows = _Rows(request_id, send)
    gone = _look_at(touched, watch, rows)
    invalid: list[str] = []
    unreadable: list[str] = []
    left = MAX_FRESH_ROWS
    for folder in _outermost(touched.fresh):
        walk = _list_fresh(root, ScanOrder.within(request_id, folder, watch.prune, left), watch, send)
        if walk is not None:
            left -= walk.count
            invalid += walk.invalid
            unreadable += walk.unreadable
    if len(watch.linked) > known:
        raise Blind  # the other names of that file are not known
    rows.flush()
    return {
        "gone": gone,
        # A new folder may have had this name before, and lost files while it was not watched.
        "lost": _outermost(touched.lost | touched.fresh),
        "linked": sorted(watch.linked),
        "invalid": invalid,
        "unreadable": unreadable,
        "cursor": _reported(watch, send),
    }


def _look_at(touched: Touched, watch: Watch, rows: _Rows) -> list[str]:
    """Tell those that are there; answer with the others. Raises `Blind`."""
    if touched.moving:
        raise Blind  # written, then moved to where nobody looks: another of its names may be here
    gone: list[str] = []
    known: dict[str, bool] = {"": True}
    for path in sorted(touched.paths):
        try:
            # What is reached through a symlink lies elsewhere, under a name of its own.
            result = os.lstat(path) if _is_folder(path.rpartition("/")[0], known) else None
        except (FileNotFoundError, NotADirectoryError):
            result = None
        except OSError:
            raise Blind from None
        if result is None:
            if path in touched.written:
                raise Blind  # as above
            gone.append(path)
            continue
        _note_links(watch, path, result)
        rows.add([path, *describe(result)])
    return gone


def _is_folder(path: str, known: dict[str, bool]) -> bool:
    """Whether it is one, and no symlink on the way to it."""
    if path not in known:
        parent = path.rpartition("/")[0]
        known[path] = _is_folder(parent, known) and stat.S_ISDIR(os.lstat(path).st_mode)
    return known[path]


def _note_links(watch: Watch, path: str, result: os.stat_result) -> None:
    if result.st_nlink > 1 and stat.S_ISREG(result.st_mode):
        watch.note_linked(path)


def _list_fresh(root: Root, order: ScanOrder, watch: Watch, send: Callable[[bytes, bytes], None]) -> _Walk | None:
    walk = _Walk(root, order, watch, send)
    try:
        if not _is_folder(order.under, {"": True}):
            return None
        walk.run()
    except OSError:
        return None  # gone again: the next time tells
    except Refused:
        if os.path.isdir(order.under):
            raise Blind from None  # it cannot be looked into
        return None
    finally:
        os.fchdir(root.descriptor)
    if walk.watch is None or walk.truncated:
        raise Blind
    return walk


def _outermost(folders: set[str]) -> list[str]:
    found: list[str] = []
    for folder in sorted(folders, key=lambda each: each + "/"):
        if not found or not folder.startswith(found[-1] + "/"):
            found.append(folder)
    return found


def _reported(watch: Watch | None, send: Callable[[bytes, bytes], None]) -> int | None:
    if watch is None:
        return None
    send(WATCHED, encode_frame(watch.report()))
    return watch.cursor


class _Rows:
    """Entries on their way, in frames of a bounded size."""

    def __init__(self, request_id: int, send: Callable[[bytes, bytes], None]) -> None:
        self._request_id = request_id
        self._send = send
        self._rows: list[list[object]] = []
        self._characters = 0

    def add(self, row: list[object]) -> None:
        self._rows.append(row)
        self._characters += len(str(row[0]))
        if len(self._rows) >= SCAN_ROWS or self._characters > ROWS_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            event = {"id": self._request_id, "event": "entries", "rows": self._rows}
            self._send(ENTRIES, encode_frame(event))
            self._rows = []
            self._characters = 0


class _Walk:
    """Paths are text here and begin with `under`: what could not be text is named and left out."""

    def __init__(self, root: Root, order: ScanOrder, watch: Watch | None, send: Callable[[bytes, bytes], None]) -> None:
        self.watch = watch
        self._root = root
        self._order = order
        self._rows = _Rows(order.request_id, send)
        self._prefix = order.under.rstrip("/") + "/" if order.under else ""
        self.invalid: list[str] = []
        self._invalid_count = 0
        self.unreadable: list[str] = []
        self.truncated = False
        self.count = 0

    def run(self) -> dict[str, object]:
        self._enter()
        clock_ns = time.time_ns()
        left, characters_left = self._order.limit, MAX_CHARACTERS
        for path, row in self._entries():
            left -= 1
            characters_left -= len(path)
            if left < 0 or characters_left < 0:
                self.truncated = True
                break
            self.count += 1
            self._rows.add(row)
        self._rows.flush()
        if self._invalid_count > len(self.invalid):
            self.invalid.append(f"… and {self._invalid_count - len(self.invalid)} more")
        return {
            "clock_ns": clock_ns,
            "invalid": self.invalid,
            "unreadable": self.unreadable,
            "truncated": self.truncated,
        }

    def _enter(self) -> None:
        """Work in the folder itself: paths below it may be as long as the kernel allows."""
        under = self._order.under
        try:
            folder = self._root.open_folder(checked(under) or b".", under)
            os.fchdir(folder)
            os.close(folder)
        except NotADirectoryError:
            raise Refused("not_a_directory", f"{shown(under)} is not a folder", "Name a folder.") from None
        except OSError as error:
            raise refusal(error, under) from None

    def _entries(self) -> Iterator[tuple[str, list[object]]]:
        """Every path and its row, sorted by whole path.

        A folder's content comes where `folder/` sorts, which is not always right behind the folder: `a-b` lies
        between `a` and `a/b`.
        """
        waiting = [iter(self._list("", 1))]
        while waiting:
            for key, row in waiting[-1]:
                if row is None:
                    waiting.append(iter(self._list(key, len(waiting) + 1)))
                    break
                yield key, row
            else:
                waiting.pop()

    def _list(self, folder: str, level: int) -> list[tuple[str, list[object] | None]]:
        """What is in `folder` (relative, ending in / unless it is the first): rows, and None where to descend."""
        depth = self._order.depth
        if depth is not None and level > depth:
            return []
        found: list[tuple[str, list[object] | None]] = []
        self._watch(folder)
        try:
            with os.scandir(folder.encode() or b".") as entries:
                for entry in entries:
                    self._look(folder, entry, found)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            self._note_unreadable(folder)
            return []
        found.sort(key=_PATH)
        return found

    def _watch(self, folder: str) -> None:
        """Before it is listed, so that what comes meanwhile is told afterwards."""
        if self.watch is None:
            return
        try:
            self.watch.add(folder, self._prefix + folder)
        except Blind:
            self.watch = None

    def _note_links(self, path: str, result: os.stat_result) -> None:
        if self.watch is None:
            return
        try:
            _note_links(self.watch, self._prefix + path, result)
        except Blind:
            self.watch = None

    def _look(self, folder: str, entry: os.DirEntry[bytes], found: list[tuple[str, list[object] | None]]) -> None:
        name = entry.name
        if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
            return
        path = self._valid(folder, name)
        if path is None:
            return
        try:
            result = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # gone since it was listed
        self._note_links(path, result)
        row = describe(result)
        row.insert(0, self._prefix + path)
        found.append((path, row))
        if row[1] == "d" and name not in self._order.prune:
            found.append((path + "/", None))

    def _valid(self, folder: str, name: bytes) -> str | None:
        """The path, if a workspace can have it; otherwise it is noted."""
        try:
            text = name.decode()
        except UnicodeDecodeError:
            text = None
        if text is not None and (text.isprintable() or not _CONTROL.search(text)):
            path = folder + text
            # No character takes more than four bytes.
            whole = self._prefix + path
            if len(whole) <= MAX_PATH_BYTES // 4 or len(whole.encode()) <= MAX_PATH_BYTES:
                return path
        self._invalid_count += 1
        if len(self.invalid) < MAX_NAMED:
            self.invalid.append(_escaped((self._prefix + folder).encode() + name))
        return None

    def _note_unreadable(self, folder: str) -> None:
        if len(self.unreadable) < MAX_UNREADABLE:
            self.unreadable.append((self._prefix + folder).rstrip("/"))
        else:
            self.truncated = True


def _escaped(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
