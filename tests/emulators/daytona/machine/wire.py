"""Frames between the service and a machine: one byte that says what it is, four of length, then that many bytes.

A connection is one operation: a request frame, whatever frames the operation takes, and the machine's frames up to
its result or refusal. The standard library alone, since this runs inside the sandbox as well.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import IO, TypeGuard

__all__ = [
    "DATA",
    "END",
    "HEAD",
    "JSON",
    "MAX_FRAME",
    "Channel",
    "Fields",
    "Refusal",
    "dump",
    "frame",
    "is_fields",
    "is_list",
    "read_result",
]

JSON = b"j"
DATA = b"d"
END = b"e"  # of one file or stream within an operation
HEAD = struct.Struct("!cI")
MAX_FRAME = 1 << 26

Fields = dict[str, object]


def is_fields(value: object) -> TypeGuard[Fields]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


class Refusal(Exception):
    """What the service answers instead of a result; without a message its body is empty. `code` is the daemon's."""

    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def dump(value: object) -> bytes:
    # Names of files are bytes to the kernel: those that are no UTF-8 travel as surrogates.
    return json.dumps(value, ensure_ascii=True).encode("ascii")


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(payload)) + payload


class Channel:
    """The machine's side of a connection, with waits that block one thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader: IO[bytes] = connection.makefile("rb")

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next frame; None where the other side has gone."""
        head = self._reader.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        kind, length = HEAD.unpack(head)
        payload = self._reader.read(length)
        return (kind, payload) if len(payload) == length else None

    def receive_fields(self) -> Fields | None:
        """The next frame's fields; None at the end of what is sent."""
        got = self.receive()
        if got is None or got[0] != JSON:
            return None
        fields: Fields = json.loads(got[1])
        return fields

    def chunks(self) -> Iterator[bytes]:
        """The contents that follow. Raises ConnectionError where they are cut off."""
        while (got := self.receive()) is not None:
            if got[0] == END:
                return
            yield got[1]
        raise ConnectionError

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        self._connection.sendall(frame(kind, payload))

    def send_fields(self, fields: Mapping[str, object]) -> None:
        self.send(JSON, dump(fields))

    def raw(self) -> socket.socket:
        """For an operation that speaks something else from here on; nothing must have been sent after its request."""
        return self._connection

    def close(self) -> None:
        self._reader.close()
        self._connection.close()


def read_result(payload: bytes) -> object:
    """What an operation ended with. Raises the `Refusal` that it ended with."""
    fields: Fields = json.loads(payload)
    status, code, message = fields.get("status"), fields.get("code"), fields.get("message")
    if isinstance(status, int):
        raise Refusal(status, str(message), str(code))
    return fields.get("result")
