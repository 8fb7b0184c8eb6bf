"""A command's output in one file: each line behind a mark of three bytes that says from which stream it came."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

__all__ = ["STDERR", "STDOUT", "Log"]

STDOUT = b"\1\1\1"
STDERR = b"\2\2\2"
_CHUNK = 1 << 16


class Log:
    """Lines of both streams as they come. Their order between the streams is that of reading, not of writing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._size = 0
        path.touch()

    def follow_stream(self, stream: IO[bytes], mark: bytes) -> None:
        """Take lines until the stream ends. One that has no end of line gets it; marks in the output are lost."""
        with stream:
            for line in stream:
                self.add(mark, line)

    def add(self, mark: bytes, line: bytes) -> None:
        kept = line.replace(STDOUT, b"").replace(STDERR, b"")
        record = mark + (kept if kept.endswith(b"\n") else kept + b"\n")
        with self._changed, self._path.open("ab") as file:
            file.write(record)
            self._size += len(record)
            self._changed.notify_all()

    def wait(self, offset: int, timeout_s: float) -> None:
        """Until there is more than so many bytes, or the time has passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._size > offset, timeout_s)

    def read(self, offset: int = 0) -> bytes:
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read()

    def streams(self) -> tuple[str, str, str]:
        """All of it with its marks, and each stream without them."""
        content = self.read()
        parts: dict[bytes, list[bytes]] = {STDOUT: [], STDERR: []}
        for line in content.splitlines(keepends=True):
            if line[:3] in parts:
                parts[line[:3]].append(line[3:])
        texts = [content, b"".join(parts[STDOUT]), b"".join(parts[STDERR])]
        whole, stdout, stderr = (each.decode("utf-8", "replace") for each in texts)
        return whole, stdout, stderr
