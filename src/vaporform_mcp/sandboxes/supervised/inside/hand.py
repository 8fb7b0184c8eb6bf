"""The hand of a server that reaches a sandbox only by commands: passes frames to the supervisor and prints its answers.

It is told everything in its one argument, and prints one line that cannot be taken for anything else's.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import os
import sys
import time
import zlib

from .frames import encode_frame
from .receiving import Failed, exactly
from .starting import attach
from .wire import HEADER

__all__ = ["main"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

READY = "vaporform-answer"
"""Begins the line that holds the answer: then how many bytes it has unpacked, their CRC-32, and they, or their file."""

ANSWERS = "answers"
STAGED = "staged"
MAX_KEPT = 64
KEPT_S = 900.0
CHUNK_BYTES = 1024 * 1024


class Orders:
    """What the server says to the hand itself.

    `config` is for a supervisor that has to be started, and `expected`, where it is given, how many starts there were
    when the server last looked: of another supervisor nothing is asked. `within_s` bounds every wait for an answer.
    `inline` bounds the answer that is printed, packed; a longer one is left in a file. What is asked with a `key` is
    done once: asked again, it is answered as it was. With `sync` what was written is on the disk before the answer.
    Marks before `mark` are of no more use; None leaves them.

    With `renews` a supervisor of other code than ours is replaced, where nobody would miss it.
    """

    def __init__(self, fields: dict[str, object]) -> None:
        self.expected = fields.get("expected")
        self.inline = int(str(fields["inline"]))
        self.within_s = float(str(fields["within_s"]))
        self.key = str(fields.get("key") or "")
        self.sync = fields.get("sync") is True
        self.mark = fields.get("mark")
        self.requests = fields.get("requests")
        self.renews = fields.get("renews") is True
        config = fields["config"]
        self.config: dict[str, object] = {**config} if isinstance(config, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # JSON's keys are text


def main(argument: str) -> None:
    archive = os.path.abspath(sys.argv[0])
    os.chdir(os.path.dirname(archive))  # also since the path of a socket has to be short
    frames = list(_frames(zlib.decompress(base64.b64decode(argument))))
    orders = Orders(frames[0][0])
    if orders.key:
        os.makedirs(ANSWERS, mode=0o700, exist_ok=True)
        with open(f"{ANSWERS}/{orders.key}", "a+b") as kept:
            # A first asking that is still at work is waited for.
            fcntl.flock(kept.fileno(), fcntl.LOCK_EX)
            kept.seek(0)
            answer = kept.read()
            if not answer:
                answer, is_whole = _answer(archive, orders, frames[1:])
                kept.write(answer if is_whole else b"")
    else:
        answer, _ = _answer(archive, orders, frames[1:])
    _print(answer, orders)


def _answer(archive: str, orders: Orders, requests: list[tuple[dict[str, object], bytes]]) -> tuple[bytes, bool]:
    """The frames of the answer, and whether there are all that there will be."""
    answer = bytearray()
    try:
        if isinstance(orders.requests, str):
            with open(orders.requests, "rb") as source:
                requests = list(_frames(zlib.decompress(source.read())))
        connection, hello, start = attach(archive, orders.config, renews=orders.renews)
        connection.settimeout(orders.within_s)
        answer += encode_frame({"hello": hello, "start": start})
        if orders.expected is None or orders.expected == start:
            _tell(connection, requests, answer)
        if orders.sync:
            os.sync()
        _tidy(orders)
    except Failed as error:
        answer += encode_frame({"failed": str(error)})
    except (OSError, EOFError) as error:
        # What came before it stands; what did not come is not known.
        answer += encode_frame({"lost": str(error)})
    else:
        return bytes(answer), True
    return bytes(answer), False


def _frames(raw: bytes) -> Iterator[tuple[dict[str, object], bytes]]:
    at = 0
    while at < len(raw):
        json_size, data_size = HEADER.unpack_from(raw, at)
        middle = at + HEADER.size + json_size
        yield json.loads(raw[at + HEADER.size : middle]), raw[middle : middle + data_size]
        at = middle + data_size


def _tell(connection: socket.socket, requests: list[tuple[dict[str, object], bytes]], answer: bytearray) -> None:
    """One after the other, until one is refused: what follows it builds on it. An upload goes by the number that its
    opening was answered with, and its bytes may lie in files, which are removed; what is said to a port goes by the
    number of its dialing.
    """
    upload: object = None
    tunnel: object = None
    for fields, data in requests:
        if fields.get("upload") == "opened":
            fields["upload"] = upload
        if fields.get("tunnel") == "dialed":
            fields["tunnel"] = tunnel
        parts = fields.pop("parts", None)
        if isinstance(parts, list):
            reply = _append(connection, fields, [str(part) for part in parts])  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        else:
            reply = _ask(connection, fields, data)
        answer += reply
        last = _last(reply)
        if "error" in last:
            return
        if fields["op"] == "open":
            upload = last["ok"]["upload"]
        elif fields["op"] == "dial":
            tunnel = last["ok"]["tunnel"]


def _append(connection: socket.socket, fields: dict[str, object], parts: list[str]) -> bytes:
    reply = b""
    for part in parts:
        with open(part, "rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                reply = _ask(connection, fields, chunk)
                if "error" in _last(reply):
                    return reply
        os.unlink(part)
    return reply


def _last(reply: bytes) -> dict[str, dict[str, object]]:
    """The reply without its events; what it has beside its id are objects."""
    fields = [fields for fields, _ in _frames(reply)][-1]
    return {name: {**each} for name, each in fields.items() if isinstance(each, dict)}  # pyright: ignore[reportUnknownVariableType]  # JSON's keys are text


def _tidy(orders: Orders) -> None:
    """Remove what nobody will ask for any more. Another hand may be at it too."""
    if isinstance(orders.requests, str):
        os.unlink(orders.requests)
    if isinstance(orders.mark, str):
        _tidy_marks(orders.mark)
    for folder in (ANSWERS, STAGED):
        if os.path.isdir(folder) and len(os.listdir(folder)) > MAX_KEPT:
            for each in os.scandir(folder):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - each.stat().st_mtime > KEPT_S:
                        os.unlink(each.path)


def _tidy_marks(held: str) -> None:
    """Those before it alone: a later one may hold by now, since this hand was told which one did."""
    with contextlib.suppress(FileNotFoundError):
        since = os.stat(held).st_mtime_ns
        for each in os.scandir("."):
            if each.name.startswith("mark-") and each.stat().st_mtime_ns < since:
                os.unlink(each.path)


# Frames --------------------------------------------------------------------------------------------------------


def _ask(connection: socket.socket, fields: dict[str, object], data: bytes) -> bytes:
    """The events and the reply to one request, as they came."""
    connection.sendall(encode_frame(fields, data))
    answer = bytearray()
    while True:
        head = exactly(connection, HEADER.size)
        json_size, data_size = HEADER.unpack(head)
        body = exactly(connection, json_size + data_size)
        reply: dict[str, object] = json.loads(body[:json_size])
        if reply.get("id") == fields["id"]:
            answer += head + body
            if "event" not in reply:
                return bytes(answer)


def _print(answer: bytes, orders: Orders) -> None:
    packed = zlib.compress(answer, 1)
    where = base64.b64encode(packed).decode()
    if len(where) > orders.inline:
        os.makedirs(STAGED, mode=0o700, exist_ok=True)
        path = os.path.abspath(f"{STAGED}/answer-{os.getpid()}-{time.time_ns()}")
        with open(path, "wb") as target:
            target.write(packed)
        where = "@" + path
    sys.stdout.write(f"\n{READY} {len(answer)} {binascii.crc32(answer):08x} {where}\n")
    sys.stdout.flush()
