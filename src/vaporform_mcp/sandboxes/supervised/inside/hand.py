"""The hand of a server that reaches a sandbox only by commands: passes frames to the supervisor and prints its answers.

It is told everything in its one argument, and prints one line that cannot be taken for anything else's.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import fcntl
import json
import os
import sys
import time
import zlib

from .faults import refusal
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

STAGED = "staged"
KEPT_S = 3600.0
"""What lies there for so long was forgotten by a server that ended."""

CHUNK_BYTES = 1024 * 1024

NO_UPLOAD = -1
"""A number that no upload has."""


class Orders:
    """What the server says to the hand itself.

    `config` is for a supervisor that has to be started, and `expected`, where it is given, how many starts there were
    when the server last looked: of another supervisor nothing is asked. `within_s` bounds every wait for an answer.
    `inline` bounds the answer that is printed, packed; a longer one is left in a file. `requests` names the file of
    requests that were too long for the argument. `heard` names files of answers and requests that have served. With
    `sync` what was written is on the disk before the answer. Marks before `mark` are of no more use; None leaves them.

    With `renews` a supervisor of other code than ours is replaced, where nobody would miss it.
    """

    def __init__(self, fields: dict[str, object]) -> None:
        self.expected = fields.get("expected")
        self.inline = int(str(fields["inline"]))
        self.within_s = float(str(fields["within_s"]))
        self.sync = fields.get("sync") is True
        self.mark = fields.get("mark")
        self.requests = fields.get("requests")
        heard = fields.get("heard")
        self.heard = [str(each) for each in heard] if isinstance(heard, list) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        self.renews = fields.get("renews") is True
        config = fields["config"]
        self.config: dict[str, object] = {**config} if isinstance(config, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # JSON's keys are text


def main(argument: str) -> None:
    archive = os.path.abspath(sys.argv[0])
    os.chdir(os.path.dirname(archive))  # also since the path of a socket has to be short
    frames = list(_frames(zlib.decompress(base64.b64decode(argument))))
    orders = Orders(frames[0][0])
    answer = _answer(archive, orders, frames[1:])
    _print(answer, orders)


def _answer(archive: str, orders: Orders, requests: list[tuple[dict[str, object], bytes]]) -> bytes:
    """The frames of the answer. What came before anything went wrong stands; what did not come is not known."""
    answer = bytearray()
    try:
        _tidy(orders)
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
    except Failed as error:
        answer += encode_frame({"failed": str(error)})
    except (OSError, EOFError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        answer += encode_frame({"failed": "the sandbox's disk is full"} if full else {"lost": str(error)})
    return bytes(answer)


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
    with contextlib.ExitStack() as held:
        for fields, data in requests:
            if fields.get("upload") == "opened":
                fields["upload"] = upload
            if fields.get("tunnel") == "dialed":
                fields["tunnel"] = tunnel
            parts = fields.pop("parts", None)
            if isinstance(parts, list):
                reply = _append(connection, fields, [str(part) for part in parts], held)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                if reply is None:
                    upload = NO_UPLOAD
                    continue
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


def _append(
    connection: socket.socket, fields: dict[str, object], parts: list[str], held: contextlib.ExitStack
) -> bytes | None:
    """None where parts are gone: an earlier asking had them, and how that ended the supervisor tells of the commit.

    The first part goes last, when all is done: by it an asking is waited for that is still at work.
    """
    reply = _ask(connection, fields, b"")
    try:
        for part in parts:
            source = held.enter_context(open(part, "rb"))  # noqa: SIM115  # the stack closes it
            if part is parts[0]:
                fcntl.flock(source.fileno(), fcntl.LOCK_EX)
                held.callback(_remove, part)
            while chunk := source.read(CHUNK_BYTES):
                reply = _ask(connection, fields, chunk)
                if "error" in _last(reply):
                    return reply
            if part is not parts[0]:
                source.close()
                os.unlink(part)
    except FileNotFoundError:
        return None
    return reply


def _last(reply: bytes) -> dict[str, dict[str, object]]:
    """The reply without its events; what it has beside its id are objects."""
    fields = [fields for fields, _ in _frames(reply)][-1]
    return {name: {**each} for name, each in fields.items() if isinstance(each, dict)}  # pyright: ignore[reportUnknownVariableType]  # JSON's keys are text


def _tidy(orders: Orders) -> None:
    """Remove what nobody will ask for any more. Another hand may be at it too, and what cannot be removed stays."""
    with contextlib.suppress(OSError):
        if isinstance(orders.mark, str):
            _tidy_marks(orders.mark)
    for path in orders.heard:
        _remove(path)
    with contextlib.suppress(FileNotFoundError):
        for each in os.scandir(STAGED):
            with contextlib.suppress(OSError):
                if time.time() - each.stat().st_mtime > KEPT_S:
                    os.unlink(each.path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


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
        try:
            where = "@" + _stage(packed)
        except OSError as error:
            # That much can always be told.
            said = encode_frame({"id": 1, "error": refusal(error, "the answer").fields()})
            answer = b"".join(encode_frame(*frame) for frame in list(_frames(answer))[:1]) + said
            where = base64.b64encode(zlib.compress(answer, 1)).decode()
    sys.stdout.write(f"\n{READY} {len(answer)} {binascii.crc32(answer):08x} {where}\n")
    sys.stdout.flush()


def _stage(packed: bytes) -> str:
    os.makedirs(STAGED, mode=0o700, exist_ok=True)
    path = os.path.abspath(f"{STAGED}/answer-{os.getpid()}-{time.time_ns()}")
    try:
        with open(path, "wb") as target:
            target.write(packed)
    except OSError:
        _remove(path)
        raise
    return path
