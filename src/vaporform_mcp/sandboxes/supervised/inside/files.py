"""The requests about files that are done at once: read, range, write, remove, stat."""

from __future__ import annotations

import os
import stat

from .faults import Refused, refusal, shown
from .root import checked, describe
from .wire import FLUSHED_FILES
from .writing import FileToBe, remove, write

__all__ = ["Files"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .loop import Loop
    from .request import Request
    from .root import Root

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""What one `read` answers with where it is not asked for more, but for a first file that is larger; and one `range`."""

MAX_READ_BYTES = 24 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
TRIES = 3


class Files:
    def __init__(self, loop: Loop, root: Root) -> None:
        self._loop = loop
        self._root = root

    def operations(self) -> dict[str, Callable[[Request], None]]:
        return {
            "read": self._read,
            "range": self._range,
            "write": self._write,
            "remove": self._remove,
            "stat": self._stat,
        }

    # Reading ---------------------------------------------------------------------------------------------------

    def _read(self, request: Request) -> None:
        self._root.require()
        paths, follow = request.texts("paths"), request.flag("follow")
        max_bytes = min(request.integer("max_bytes"), MAX_READ_BYTES)
        together = min(request.integer("together", MAX_BATCH_BYTES), MAX_READ_BYTES)
        found: list[dict[str, object]] = []
        contents: list[bytes] = []

        def steps() -> Iterator[None]:
            left = max(together, max_bytes)
            for path in paths:
                try:
                    described, content, elsewhere = self._read_one(path, max_bytes, left, follow=follow)
                except Refused as error:
                    found.append({"error": error.fields()})
                else:
                    found.append({"stat": described, "size": len(content), "elsewhere": elsewhere})
                    contents.append(content)
                    left = min(left, together) - len(content)
                yield

        self._loop.in_turns(steps(), lambda: request.reply({"files": found}, b"".join(contents)), request.fail)

    def _read_one(self, path: str, max_bytes: int, left: int, *, follow: bool) -> tuple[list[object], bytes, bool]:
        """Its stat and content, and whether a link on its way led elsewhere."""
        raw = checked(path)
        try:
            there = self._root.open_path(raw, path, follow=follow)
            try:
                # Of what is open, so that it holds however the folders change meanwhile.
                elsewhere = self._root.relative(there) != raw
                if stat.S_ISLNK(os.fstat(there).st_mode):
                    return describe(os.fstat(there)), os.readlink(b"", dir_fd=there), elsewhere
                with_content = _open_regular(there, path)
            finally:
                os.close(there)
            try:
                return *_whole(with_content, path, max_bytes, left), elsewhere
            finally:
                os.close(with_content)
        except OSError as error:
            raise refusal(error, path) from None

    def _range(self, request: Request) -> None:
        self._root.require()
        path, offset = request.text("path"), request.integer("offset")
        length, expected = request.integer("length"), request.optional_items("stat")
        try:
            there = self._root.open_path(checked(path), path)
            try:
                opened = _open_regular(there, path)
            finally:
                os.close(there)
            try:
                now = describe(os.fstat(opened))
                data = _read_upto(opened, max(0, min(length, MAX_BATCH_BYTES)), max(0, offset))
                after = describe(os.fstat(opened))
            finally:
                os.close(opened)
        except OSError as error:
            raise refusal(error, path) from None
        if after != now or (expected is not None and expected != now):
            raise _keeps_changing(path)
        size = now[1]
        request.reply({"stat": now, "eof": isinstance(size, int) and max(0, offset) + len(data) >= size}, data)

    def _stat(self, request: Request) -> None:
        self._root.require()
        paths = request.texts("paths")
        found: list[list[object] | dict[str, object] | None] = []

        def steps() -> Iterator[None]:
            for path in paths:
                found.append(self._stat_one(path))
                yield

        self._loop.in_turns(steps(), lambda: request.reply({"stats": found}), request.fail)

    def _stat_one(self, path: str) -> list[object] | dict[str, object] | None:
        try:
            there = self._root.open_path(checked(path), path, follow=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return {"error": refusal(error, path).fields()}
        except Refused as error:
            return {"error": error.fields()}
        try:
            return describe(os.fstat(there))
        finally:
            os.close(there)

    # Changing --------------------------------------------------------------------------------------------------

    def _write(self, request: Request) -> None:
        self._root.require()
        files: list[FileToBe] = []
        position = 0
        for record in request.records("files"):
            file = FileToBe.parse(record, request.data, position)
            position += len(file.content)
            files.append(file)
        if position != len(request.data):
            raise Refused("invalid_argument", "the files' sizes do not add up to the bytes that came with them")
        found: list[dict[str, object]] = []
        flush = len(files) <= FLUSHED_FILES

        def steps() -> Iterator[None]:
            for file in files:
                try:
                    found.append(write(self._root, file, flush=flush))
                except Refused as error:
                    found.append({"error": error.fields()})
                yield

        self._loop.in_turns(steps(), lambda: request.reply({"files": found}), request.fail)

    def _remove(self, request: Request) -> None:
        self._root.require()
        paths = request.texts("paths")
        faults: list[dict[str, object]] = []

        def steps() -> Iterator[None]:
            for path in paths:
                try:
                    remove(self._root, path)
                except Refused as error:
                    faults.append({"path": path, "error": error.fields()})
                yield

        self._loop.in_turns(steps(), lambda: request.reply({"faults": faults}), request.fail)


def _open_regular(there: int, path: str) -> int:
    mode = os.fstat(there).st_mode
    if stat.S_ISDIR(mode):
        raise Refused("is_directory", f"{shown(path)} is a folder", "List it, or name a file in it.")
    if not stat.S_ISREG(mode):
        raise Refused("invalid_argument", f"{shown(path)} is a device, socket or FIFO", "Name a regular file.")
    return os.open(f"/proc/self/fd/{there}", os.O_RDONLY | os.O_CLOEXEC)


def _whole(opened: int, path: str, max_bytes: int, left: int) -> tuple[list[object], bytes]:
    for _ in range(TRIES):
        before = os.fstat(opened)
        if before.st_size > max_bytes:
            raise Refused(
                "too_large", f"{shown(path)} has {before.st_size} bytes; the limit is {max_bytes}", "Read a part of it."
            )
        if before.st_size > left:
            raise Refused("too_large", f"{shown(path)} does not fit into this answer", "Read it by itself.")
        content = _read_upto(opened, before.st_size + 1, 0)
        described = describe(os.fstat(opened))
        if len(content) == before.st_size and described == describe(before):
            return described, content
    raise _keeps_changing(path)


def _read_upto(opened: int, limit: int, offset: int) -> bytes:
    parts: list[bytes] = []
    while limit > 0 and (part := os.pread(opened, min(limit, CHUNK_BYTES), offset)):
        parts.append(part)
        limit -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _keeps_changing(path: str) -> Refused:
    return Refused("conflict", f"{shown(path)} changed while it was read", "Read it again.")
