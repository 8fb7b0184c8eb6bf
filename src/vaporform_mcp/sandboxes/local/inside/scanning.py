"""Walking the workspace: what the forked worker of a `scan` does."""

from __future__ import annotations

import os
import re
import stat
import time

from .faults import Refused, refusal, shown
from .frames import encode_frame
from .root import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, checked, describe
from .wire import SCAN_ROWS

__all__ = ["ENTRIES", "REPLY", "ScanOrder", "scan"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .root import Root

ENTRIES = b"e"
REPLY = b"r"
"""What a frame is to be sent on as; it comes before each in the worker's pipe."""

MAX_PATH_BYTES = 4096
MAX_NAMED = 100
MAX_UNREADABLE = 10_000
ROWS_BYTES = 1024 * 1024
"""Of paths in one frame, whatever their number."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ScanOrder:
    __slots__ = ("depth", "limit", "prune", "request_id", "under")

    def __init__(self, *, request_id: int, under: str, prune: frozenset[bytes], depth: int | None, limit: int) -> None:
        self.request_id = request_id
        self.under = under
        self.prune = prune
        self.depth = depth
        self.limit = limit


def scan(root: Root, order: ScanOrder, send: Callable[[bytes, bytes], None]) -> None:
    """Send every entry in frames of rows, then the reply; a refusal is a reply too."""
    fields: dict[str, object] = {"id": order.request_id}
    try:
        fields["ok"] = _Walk(root, order, send).run()
    except Refused as error:
        fields["error"] = error.fields()
    send(REPLY, encode_frame(fields))


class _Walk:
    def __init__(self, root: Root, order: ScanOrder, send: Callable[[bytes, bytes], None]) -> None:
        self._root = root
        self._order = order
        self._send = send
        self._prefix = checked(order.under)
        self._rows: list[list[object]] = []
        self._rows_bytes = 0
        self._invalid: list[str] = []
        self._invalid_count = 0
        self._unreadable: list[str] = []
        self._truncated = False

    def run(self) -> dict[str, object]:
        self._enter()
        clock_ns = time.time_ns()
        left = self._order.limit
        for path, result in self._entries():
            if left <= 0:
                self._truncated = True
                break
            left -= 1
            self._add(path, result)
        self._flush()
        if self._invalid_count > len(self._invalid):
            self._invalid.append(f"… and {self._invalid_count - len(self._invalid)} more")
        return {
            "clock_ns": clock_ns,
            "invalid": self._invalid,
            "unreadable": self._unreadable,
            "truncated": self._truncated,
        }

    def _enter(self) -> None:
        """Work in the folder itself: paths below it may be as long as the kernel allows."""
        under = self._order.under
        try:
            folder = self._root.open_folder(self._prefix or b".", under)
            os.fchdir(folder)
            os.close(folder)
        except NotADirectoryError:
            raise Refused("not_a_directory", f"{shown(under)} is not a folder", "Name a folder.") from None
        except OSError as error:
            raise refusal(error, under) from None

    def _entries(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """Everything, sorted by whole path. A folder's content comes where `folder/` sorts, which is not always
        right behind the folder: `a-b` lies between `a` and `a/b`.
        """
        waiting = [iter(self._list(b"", 1))]
        while waiting:
            for key, result in waiting[-1]:
                if result is None:
                    waiting.append(iter(self._list(key, len(waiting) + 1)))
                    break
                yield key, result
            else:
                waiting.pop()

    def _list(self, folder: bytes, level: int) -> list[tuple[bytes, os.stat_result | None]]:
        """The entries of a folder (relative path, ending in / unless it is the first) and where to descend."""
        depth = self._order.depth
        if depth is not None and level > depth:
            return []
        found: list[tuple[bytes, os.stat_result | None]] = []
        try:
            with os.scandir(folder or b".") as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
                        continue
                    path = folder + name
                    if not self._is_valid(path, name):
                        continue
                    try:
                        result = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    found.append((path, result))
                    if stat.S_ISDIR(result.st_mode) and name not in self._order.prune:
                        found.append((path + b"/", None))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            self._note_unreadable(folder)
            return []
        found.sort(key=_path_of)
        return found

    def _is_valid(self, path: bytes, name: bytes) -> bool:
        if len(self._prefix) + 1 + len(path) <= MAX_PATH_BYTES:
            try:
                text = name.decode()
            except UnicodeDecodeError:
                text = None
            if text is not None and (text.isprintable() or not _CONTROL.search(text)):
                return True
        self._invalid_count += 1
        if len(self._invalid) < MAX_NAMED:
            self._invalid.append(_escaped(self._full(path)))
        return False

    def _note_unreadable(self, folder: bytes) -> None:
        if len(self._unreadable) < MAX_UNREADABLE:
            self._unreadable.append(self._full(folder.rstrip(b"/")).decode())
        else:
            self._truncated = True

    def _full(self, path: bytes) -> bytes:
        return self._prefix + b"/" + path if self._prefix and path else self._prefix or path

    def _add(self, path: bytes, result: os.stat_result) -> None:
        full = self._full(path)
        self._rows.append([full.decode(), *describe(result)])
        self._rows_bytes += len(full)
        if len(self._rows) >= SCAN_ROWS or self._rows_bytes > ROWS_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            event = {"id": self._order.request_id, "event": "entries", "rows": self._rows}
            self._send(ENTRIES, encode_frame(event))
            self._rows = []
            self._rows_bytes = 0


def _path_of(item: tuple[bytes, os.stat_result | None]) -> bytes:
    return item[0]


def _escaped(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
