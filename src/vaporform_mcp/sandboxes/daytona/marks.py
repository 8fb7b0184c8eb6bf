"""The mark of a Daytona sandbox: kept in it, and vouched for by a label of the service, which no command can change."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import replace

import anyio

from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.daytona.faults import failed
from vaporform_mcp.sandboxes.daytona.hand import Hand
from vaporform_mcp.sandboxes.daytona.reach import Reach
from vaporform_mcp.sandboxes.daytona.service import Refused

__all__ = ["LABEL", "Marks"]

LABEL = "vaporform-mark"
"""The digest of the mark, and what tells the files that it is about from others that came to lie in their place."""

FRESH_S = 1.0
"""One sync asks several times."""

MAX_MARK_BYTES = 512 * 1024 * 1024


class Marks:
    """A mark is a file named by its digest; the label tells which of them holds. So at any moment one does, or none."""

    def __init__(self, reach: Reach, hand: Hand) -> None:
        self._reach = reach
        self._hand = hand
        self._writing = anyio.Lock()
        self._known: tuple[str, bytes] | None = None

    async def read(self) -> bytes | None:
        tag = await self.tag()
        if tag is None or self._hand.note is None:
            return None
        if self._known is not None and self._known[0] == tag:
            return self._known[1]
        packed = await self._reach.download(f"{self._hand.note.state}/{_file(tag)}")
        mark = _unpacked(packed) if packed is not None else None
        if mark is None or hashlib.sha256(mark).hexdigest() != tag.partition(".")[0]:
            return None
        self._known = (tag, mark)
        self._hand.mark = _file(tag)
        return mark

    async def tag(self) -> str | None:
        """The label, where it is about the files that are there now."""
        machine = await self._reach.look(at_most_s=FRESH_S)
        tag = machine.labels.get(LABEL)
        files = self._hand.note.files if self._hand.note is not None else ""
        return tag if tag is not None and tag.partition(".")[2] == files else None

    async def write(self, mark: bytes) -> None:
        async with self._writing:
            note = self._hand.note
            if note is None:
                raise AssertionError("a mark is written before the sandbox was greeted")
            tag = f"{hashlib.sha256(mark).hexdigest()}.{note.files}"
            await self._reach.upload({f"{note.state}/{_file(tag)}": zlib.compress(mark, 6)})
            await self._label({LABEL: tag})
            self._known = (tag, mark)
            # The one before is removed when the hand is next asked anything.
            self._hand.mark = _file(tag)

    async def clear(self) -> None:
        async with self._writing:
            self._known = None
            await self._label({})

    async def _label(self, ours: Mapping[str, str]) -> None:
        machine = self._reach.machine
        labels = {name: value for name, value in machine.labels.items() if name != LABEL} | dict(ours)
        try:
            await self._reach.service.put_labels(machine, labels)
        except Refused as error:
            raise await self._explained(error) from None
        self._reach.machine = replace(self._reach.machine, labels=labels)

    async def _explained(self, error: Refused) -> VaporformError:
        await self._reach.look()  # raises what explains it better
        return failed(error.failure, "did not take the sandbox's mark", self._reach.machine.id)


def _file(tag: str) -> str:
    return f"mark-{tag.partition('.')[0]}"


def _unpacked(packed: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(packed, MAX_MARK_BYTES)
    except zlib.error:
        return None
