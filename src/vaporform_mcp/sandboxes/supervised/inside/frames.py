"""Frames as bytes."""

from __future__ import annotations

import json

from .wire import HEADER

__all__ = ["encode_frame"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def encode_frame(fields: Mapping[str, object], data: bytes = b"") -> bytes:
    encoded = _encode_json(fields).encode()
    return HEADER.pack(len(encoded), len(data)) + encoded + data
