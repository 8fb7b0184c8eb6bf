"""Files out of the parts of an upload as they come, for many small ones as well as for large ones."""

from __future__ import annotations

import re

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from tests.emulators.daytona.machine.wire import DATA, END, JSON, Refusal, dump, frame

__all__ = ["Upload"]

_BOUNDARY = re.compile(r'boundary="?([^";]+)')
_NAME = re.compile(rb'(?:^|;)\s*name="([^"]*)"')


class Upload:
    """Turns the body of a request into the frames of a machine's `files.upload`.

    A file's part comes after the one that says its path; without that it is written nowhere.
    """

    def __init__(self, content_type: str) -> None:
        """Raises `Refusal` where the type is not that of a form in parts."""
        found = _BOUNDARY.search(content_type) if content_type.startswith("multipart/") else None
        if found is None:
            raise Refusal(400, "invalid multipart form", "BAD_REQUEST")
        self._frames: list[bytes] = []
        self._header = bytearray()
        self._name = b""
        self._said = bytearray()
        self._path = ""
        self._parser = MultipartParser(
            found[1].encode(),
            {
                "on_part_begin": self._begin,
                "on_header_value": self._take_header,
                "on_header_end": self._end_header,
                "on_headers_finished": self._open,
                "on_part_data": self._take,
                "on_part_end": self._close,
            },
        )

    def feed(self, chunk: bytes) -> bytes:
        """The frames that this much of the body makes. Raises `Refusal` where it is no form."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise Refusal(400, "invalid multipart form", "BAD_REQUEST") from error
        frames = b"".join(self._frames)
        self._frames.clear()
        return frames

    def _begin(self) -> None:
        self._name = b""
        self._said.clear()

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _end_header(self) -> None:
        if found := _NAME.search(self._header):
            self._name = found[1]
        self._header.clear()

    def _open(self) -> None:
        if self._name.endswith(b".file") and self._path:
            self._frames.append(frame(JSON, dump({"path": self._path})))

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name.endswith(b".path"):
            self._said += data[start:end]
        elif self._name.endswith(b".file") and self._path:
            self._frames.append(frame(DATA, data[start:end]))

    def _close(self) -> None:
        if self._name.endswith(b".path"):
            self._path = self._said.decode("utf-8", "surrogateescape")
        elif self._name.endswith(b".file"):
            if self._path:
                self._frames.append(frame(END))
            self._path = ""
