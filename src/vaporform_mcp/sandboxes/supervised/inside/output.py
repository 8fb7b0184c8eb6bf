"""What one command printed, in bounded memory: its beginning, its end, and a file of what lies between."""

from __future__ import annotations

import os

from .wire import INLINE_BYTES, SPOOL_BYTES

__all__ = ["OutputLog"]

RING_BYTES = 256 * 1024


class OutputLog:
    """Offsets count bytes from the first one printed. `spool_path` is the file's, once there is one.

    The file holds the first `SPOOL_BYTES` and is begun when more than `INLINE_BYTES` were printed. It lies where
    commands can reach it, so it is never trusted to hold what was written to it; where it cannot be written, or has no
    name, there is none.
    """

    __slots__ = ("_head", "_ring", "_spool", "_spool_name", "_spooled", "_spooling", "spool_path", "total")

    def __init__(self, spool_name: str) -> None:
        self.total = 0
        self.spool_path: str | None = None
        self._head = bytearray()
        self._ring = bytearray()
        self._spool_name = spool_name
        self._spool = -1
        self._spooled = 0
        self._spooling = bool(spool_name)

    def append(self, data: bytes) -> None:
        room = INLINE_BYTES - len(self._head)
        if room > 0:
            self._head += data[:room]
        beyond = data[room:] if room > 0 else data
        self.total += len(data)
        if not beyond:
            return
        if self._spooling:
            self._spool_more(beyond)
        ring = self._ring
        ring += beyond
        # Cut seldom: each cut moves what is left.
        if len(ring) > 2 * RING_BYTES:
            del ring[:-RING_BYTES]

    def ends(self) -> tuple[bytes, bytes]:
        """The head and the tail; all of it as long as that is no more than twice `INLINE_BYTES`."""
        return bytes(self._head), bytes(self._ring[-INLINE_BYTES:])

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """At most `limit` bytes from `offset`, or from the next byte that is still kept, and where they begin."""
        start = min(offset, self.total)
        if not (found := self._kept(start, limit)) and start < self.total:
            start = self._ring_start
            found = self._kept(start, limit)
        while 0 < len(found) < limit and (more := self._kept(start + len(found), limit - len(found))):
            found += more
        return start, found

    def shrink(self) -> None:
        """Give back memory; called when nothing more will be printed."""
        if len(self._ring) > RING_BYTES:
            self._ring = self._ring[-RING_BYTES:]
        self._stop_spooling()

    def discard(self) -> None:
        """Close and remove the file; what was printed is then kept at its two ends only."""
        if self._spool >= 0:
            os.close(self._spool)
            self._spool = -1
            self._spooled = 0
        path, self.spool_path = self.spool_path, None
        if path is not None:
            _unlink(path)

    @property
    def _ring_start(self) -> int:
        return self.total - len(self._ring)

    def _kept(self, offset: int, limit: int) -> bytes:
        if offset < len(self._head):
            return bytes(self._head[offset : offset + limit])
        if offset >= self._ring_start:
            start = offset - self._ring_start
            return bytes(self._ring[start : start + limit])
        if offset < self._spooled:
            # Up to where the ring begins at most: what is in memory cannot have been tampered with.
            wanted = min(limit, self._spooled - offset, self._ring_start - offset)
            try:
                return os.pread(self._spool, wanted, offset)
            except OSError:
                return b""
        return b""

    def _spool_more(self, data: bytes) -> None:
        try:
            if self._spool < 0:
                self._spool = _create(self._spool_name)
                self.spool_path = self._spool_name
                self._write(bytes(self._head))
            self._write(data[: SPOOL_BYTES - self._spooled])
        except OSError:
            self._stop_spooling()
        if self._spooled >= SPOOL_BYTES:
            self._stop_spooling()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._spool, view)
            self._spooled += written
            view = view[written:]

    def _stop_spooling(self) -> None:
        self._spooling = False


def _create(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    except FileExistsError:
        os.unlink(path)
    return os.open(path, flags, 0o600)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # a command was there before us
