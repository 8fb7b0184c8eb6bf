"""Large files of a Daytona sandbox: up as parts that are put together there, down as many ranges at once."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

from vaporform_mcp.errors import Conflict
from vaporform_mcp.sandboxes.base import FileStat
from vaporform_mcp.sandboxes.daytona.hand import Asked
from vaporform_mcp.sandboxes.daytona.handle import Handle, replies_in
from vaporform_mcp.sandboxes.supervised.fields import JsonValue, Malformed, parse_stat
from vaporform_mcp.sandboxes.supervised.files import Files, wire_stat, written
from vaporform_mcp.types import Stat, WorkspacePath

__all__ = ["DaytonaFiles"]

PART_BYTES = 16 * 1024 * 1024
RANGE_BYTES = 1024 * 1024
RANGES = 8
COMMIT_S = 300.0


class DaytonaFiles(Handle, Files):
    async def read_stream(self, path: WorkspacePath) -> AsyncIterator[bytes]:
        offset = 0
        stat: Stat | None = None
        while True:
            asked = [
                Asked(
                    op="range",
                    fields={
                        "path": path,
                        "offset": offset + number * RANGE_BYTES,
                        "length": RANGE_BYTES,
                        "stat": wire_stat(stat),
                    },
                )
                for number in range(1 if stat is None else RANGES)
            ]
            for reply in replies_in(await self._ask_all(asked), None):
                seen = parse_stat(reply.fields.items("stat"))
                if stat is not None and seen != stat:
                    raise Conflict(f"{path} was changed while it was read", hint="Read it again.")
                stat = seen
                if reply.data:
                    offset += len(reply.data)
                    yield reply.data
                if reply.fields.flag("eof"):
                    return
                if not reply.data:
                    raise Malformed("an empty chunk")

    async def write_stream(
        self,
        path: WorkspacePath,
        chunks: AsyncIterator[bytes],
        *,
        mode: int | None = None,
        expected: Stat | None = None,
    ) -> FileStat:
        opened: dict[str, JsonValue] = {"path": path, "mode": mode, "expected": wire_stat(expected)}
        if self._hand.note is None:
            await self.greet()
        folder = f"{self._hand.note.state if self._hand.note else ''}/staged/{secrets.token_hex(8)}"
        parts: list[JsonValue] = []
        # Told before anything is sent that it will be refused: what is sent may be large.
        await self._ask_all(
            [Asked(op="open", fields=opened), Asked(op="commit", fields={"upload": "opened", "abort": True})]
        )
        async for part in _in_parts(chunks):
            parts.append(f"{folder}-{len(parts)}")
            await self._reach.upload({str(parts[-1]): part})
        frames = await self._ask_all(
            [
                Asked(op="open", fields=opened),
                Asked(op="append", fields={"upload": "opened", "parts": parts}),
                Asked(op="commit", fields={"upload": "opened", "abort": False}),
            ],
            within_s=COMMIT_S,
        )
        return written(path, replies_in(frames, None)[-1].fields)


async def _in_parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    part = bytearray()
    async for chunk in chunks:
        part += chunk
        if len(part) >= PART_BYTES:
            yield bytes(part)
            part.clear()
    if part:
        yield bytes(part)
