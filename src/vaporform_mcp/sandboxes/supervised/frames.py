"""Frames as bytes: cutting a stream into them and making them, without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from vaporform_mcp.sandboxes.supervised.fields import Fields, JsonValue, Malformed, parse_fields
from vaporform_mcp.sandboxes.supervised.inside.wire import HEADER, MAX_FRAME_BYTES, MAX_JSON_BYTES

__all__ = ["Frame", "Inbox", "head_of"]


@dataclass(frozen=True, slots=True)
class Frame:
    fields: Fields
    data: bytes


class Inbox:
    """Bytes that have come and are not a whole frame yet; never more than one frame of the largest size and a read."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises `Malformed` where the stream cannot be trusted any more."""
        buffer = self._buffer
        buffer += received
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= HEADER.size:
            json_size, data_size = HEADER.unpack_from(buffer, start)
            if json_size > MAX_JSON_BYTES or json_size + data_size > MAX_FRAME_BYTES:
                raise Malformed("a frame too long")
            data_start = start + HEADER.size + json_size
            end = data_start + data_size
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                fields = parse_fields(bytes(view[start + HEADER.size : data_start]))
                frames.append(Frame(fields, bytes(view[data_start:end])))
            start = end
        del buffer[:start]
        return frames


def head_of(fields: Mapping[str, JsonValue], data_size: int) -> bytes:
    """All of a frame but its data. Raises `ValueError` where it is larger than the other side accepts."""
    encoded = json.dumps(fields, separators=(",", ":")).encode()
    if len(encoded) > MAX_JSON_BYTES or len(encoded) + data_size > MAX_FRAME_BYTES:
        raise ValueError("a frame too long")
    return HEADER.pack(len(encoded), data_size) + encoded
