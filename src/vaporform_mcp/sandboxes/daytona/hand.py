"""Frames to a supervisor and back, by commands and files: the hand in the sandbox passes them on."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.daytona.faults import printable
from vaporform_mcp.sandboxes.daytona.reach import Printed, Reach
from vaporform_mcp.sandboxes.supervised.asking import WORKSPACE, LostMeanwhile
from vaporform_mcp.sandboxes.supervised.environment import NOBODY_IS_THERE, UNBUFFERED
from vaporform_mcp.sandboxes.supervised.fields import Fields, JsonValue, Malformed, parse_fields
from vaporform_mcp.sandboxes.supervised.frames import Frame, Inbox, head_of
from vaporform_mcp.sandboxes.supervised.pack import pack

__all__ = ["MACHINE_PORTS", "Asked", "Hand", "Note", "OtherStart"]

ARGUMENT_BYTES = 96 * 1024
"""What goes into a command: the kernel takes 128 KiB in one argument."""

INLINE_BYTES = 512 * 1024
"""What a command prints of an answer at most, packed; more is left in a file and fetched."""

MAX_ANSWER_BYTES = 512 * 1024 * 1024
HEARD = 1024
HEARD_AT_ONCE = 64
INSTALLS = 3
TRIES = 3

MACHINE_PORTS = (2280, 22220, 22222, 33333)
"""Served by the service's own daemon in every sandbox."""

_ANSWER = re.compile(r"^vaporform-answer (\d{1,10}) ([0-9a-f]{8}) (\S+)$", re.MULTILINE)
_ABSENT = re.compile(r"^vaporform-absent (/\S*/\.vaporform) ?(\S*)$", re.MULTILINE)
_OLD_PYTHON = re.compile(r"^vaporform-python ([\d.]{1,20})$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to the supervisor. Files in the sandbox that a field `parts` names are sent as so many requests."""

    op: str
    fields: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a supervisor was started with: which start it is, the workspace's folder and what tells it from another of
    that path, and our own folder.
    """

    start: int
    root: str
    files: str
    state: str

    @classmethod
    def parse(cls, hello: Fields) -> Note:
        noted = parse_fields(hello.text("config").encode())
        return cls(
            start=noted.number("start"), root=noted.text("root"), files=noted.text("files"), state=noted.text("state")
        )


class OtherStart(Exception):
    """Another supervisor runs than the one that was meant; it was asked nothing."""

    def __init__(self, *, is_certain: bool) -> None:
        super().__init__()
        self.is_certain = is_certain


class Hand:
    """`note` is of the supervisor that answered last; None before the first answer."""

    def __init__(self, reach: Reach, workspace_id: str, epoch: int) -> None:
        self.reach = reach
        self.note: Note | None = None
        self.mark: str | None = None
        # What lies in the sandbox and served its purpose; what is asked next has it removed.
        self._heard: deque[str] = deque(maxlen=HEARD)
        self._config: Mapping[str, JsonValue] = {
            "workspace": workspace_id,
            "epoch": epoch,
            "root": WORKSPACE,
            "linger_s": 1e9,  # it ends with its sandbox
            "outside_only": False,
            "machine_ports": list(MACHINE_PORTS),
            "env": {**NOBODY_IS_THERE, **UNBUFFERED},
        }

    async def ask(
        self,
        requests: Sequence[Asked],
        *,
        within_s: float,
        expected: int | None = None,
        sync: bool = False,
        renews: bool = False,
    ) -> Sequence[Frame]:
        """Events and replies to the requests, in order; after one that was refused none was asked.

        They are asked anew where it is not known what became of them: what changes something has to be asked as `once`.
        With `expected` only the supervisor of that start is asked. `renews` asks for one of this server's own code,
        where one of another version's can be replaced unnoticed.

        Raises:
            OtherStart: it is another.
            SandboxLost, LostMeanwhile, SandboxUnavailable: as `Reach.execute`.
        """
        orders: dict[str, JsonValue] = {
            "expected": expected,
            "inline": INLINE_BYTES,
            "within_s": within_s,
            "sync": sync,
            "renews": renews,
            "mark": self.mark,
            "heard": [self._heard.popleft() for _ in range(min(len(self._heard), HEARD_AT_ONCE))],
            "config": self._config,
        }
        frames = b"".join(
            _framed({"id": number, "op": one.op, **one.fields}, one.data) for number, one in enumerate(requests, 1)
        )
        argument, staged = await self._argument(orders, frames)
        try:
            return await self._asked(argument, within_s, expected)
        finally:
            # A hand that is still at it opened its requests long since, or is one too many.
            if staged:
                self._heard.append(staged)

    async def _asked(self, argument: str, within_s: float, expected: int | None) -> Sequence[Frame]:
        is_certain = True
        garbled: Malformed | None = None
        for _ in range(TRIES):
            printed = await self._run(argument, within_s)
            is_certain = is_certain and printed.is_certain
            try:
                first, *answers = await self._parse(printed.text)
            except Malformed as error:  # cut short on its way, or without anything in it
                garbled, is_certain = error, False
                continue
            if "failed" in first.fields:
                raise SandboxUnavailable(
                    f"the sandbox's supervisor cannot run: {printable(first.fields.text('failed'))}",
                    hint="Repeat the call. If it goes on, end the sandbox with `vaporform-mcp stop`: the next call "
                    "starts it.",
                )
            if "lost" not in first.fields:
                self.note = Note.parse(first.fields.object("hello"))
                if expected is not None and self.note.start != expected:
                    raise OtherStart(is_certain=is_certain)
                if not answers or "lost" not in answers[-1].fields:
                    return answers
            # The supervisor ended meanwhile, or the hand was stopped; the next one starts another.
            garbled, is_certain = None, False
        raise garbled or LostMeanwhile

    async def _argument(self, orders: dict[str, JsonValue], frames: bytes) -> tuple[str, str]:
        """And the file in the sandbox that it names, if any."""
        packed = _packed(_framed(orders, b"") + frames)
        if len(packed) <= ARGUMENT_BYTES:
            return packed, ""
        if self.note is None:
            await self.ask([Asked(op="info")], within_s=30)
        assert self.note is not None  # noqa: S101  # an answer has it
        path = f"{self.note.state}/staged/{secrets.token_hex(8)}"
        await self.reach.upload({path: zlib.compress(frames, 1)})
        return _packed(_framed({**orders, "requests": path}, b"")), path

    async def _run(self, argument: str, within_s: float) -> Printed:
        """Run the hand, brought there first where it is not there yet."""
        name, content = pack()
        staged = ""
        for _ in range(INSTALLS):
            move = f'mv "$d/{staged}" "$p"; ' if staged else ""
            printed = await self.reach.execute(
                f'd="$HOME/.vaporform"; p="$d/{name}"; {move}'
                f'if [ -f "$p" ]; then python3 -I -S -B "$p" \'{argument}\' </dev/null; '
                'else echo "vaporform-absent $d $(command -v python3)"; fi',
                within_s=within_s,
            )
            absent = _ABSENT.search(printed.text)
            if absent is None:
                return printed
            if not absent[2]:
                raise _no_python("has no python3")
            staged = f"{name}.{secrets.token_hex(4)}"
            await self.reach.upload({f"{absent[1]}/{staged}": content})
        raise SandboxUnavailable(
            "the sandbox does not keep what is uploaded to it", hint="Repeat the call, or use another image."
        )

    async def _parse(self, printed: str) -> Sequence[Frame]:
        found = list(_ANSWER.finditer(printed))
        if not found:
            if old := _OLD_PYTHON.search(printed):
                raise _no_python(f"has Python {old[1]}, which is too old")
            raise _no_answer(printed)
        size, checksum, where = found[-1].groups()
        if where.startswith("@"):
            packed = await self.reach.download(where[1:])
            self._heard.append(where[1:])
        else:
            packed = _decoded(where)
        answer = _unpacked(packed or b"", int(size))
        if len(answer) != int(size) or f"{binascii.crc32(answer):08x}" != checksum:
            raise Malformed("an answer cut short")
        frames = Inbox().feed(answer)
        if not frames:
            raise Malformed("an empty answer")
        return frames


def _framed(fields: Mapping[str, JsonValue], data: bytes) -> bytes:
    return head_of(fields, len(data)) + data


def _packed(frames: bytes) -> str:
    return base64.b64encode(zlib.compress(frames, 6)).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Malformed("an answer that is not base64") from None


def _unpacked(packed: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, min(size, MAX_ANSWER_BYTES) + 1)
    except zlib.error:
        raise Malformed("an answer that is not packed") from None


def _no_python(what: str) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"the sandbox {what}, and the server's hand in it needs Python 3.9 or later",
        hint="Add python3 to the snapshot, or name an image (python:3.12-slim, debian:12): there it is installed.",
    )


def _no_answer(printed: str) -> Malformed:
    said = " ".join(printed.split())[:200]
    return Malformed(f"no answer from the hand: {json.dumps(said)}")
