"""Files of a sandbox, read and written by its supervisor."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from typing import TypeVar

import anyio

from vaporform_mcp.errors import TooLarge, VaporformError
from vaporform_mcp.sandboxes.base import (
    MAX_FILE_BATCH_BYTES,
    FileContent,
    FileFault,
    FileStat,
    FileWrite,
    Rescan,
    Scan,
)
from vaporform_mcp.sandboxes.supervised.asking import Asking
from vaporform_mcp.sandboxes.supervised.fields import (
    Fields,
    JsonValue,
    Malformed,
    parse_fault,
    parse_object,
    parse_stat,
)
from vaporform_mcp.sandboxes.supervised.inside.wire import FLUSHED_FILES, MAX_FRAME_BYTES
from vaporform_mcp.types import ROOT, EntryKind, Stat, WorkspacePath

__all__ = ["Files", "wire_stat", "written"]

MAX_READ_BYTES = MAX_FRAME_BYTES - MAX_FILE_BATCH_BYTES
"""The largest file that one answer carries."""

_T = TypeVar("_T")

_CHUNK_BYTES = 1024 * 1024
_PATHS_AT_ONCE = 4_000
_SCAN_S = 300.0
_MAX_RESCANNED = 1_000_000
_ABORT_S = 5.0
_KINDS = {EntryKind.FILE: "f", EntryKind.SYMLINK: "l", EntryKind.DIRECTORY: "d", EntryKind.OTHER: "o"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_BAD_PART = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")


class Files(Asking):
    watcher = ""
    """What a handle that has no connection of its own is known by to what watches for it."""

    async def read_files(
        self, paths: Sequence[WorkspacePath], *, max_bytes: int, follow: bool = True
    ) -> Sequence[FileContent | FileFault]:
        if not paths:
            return []
        fields: dict[str, JsonValue] = {
            "paths": list(paths),
            "max_bytes": min(max_bytes, MAX_READ_BYTES),
            "follow": follow,
        }
        reply = await self.ask("read", fields)
        results: list[FileContent | FileFault] = []
        start = 0
        for path, one in zip(paths, _one_each(reply.fields.objects("files"), paths), strict=True):
            if "error" in one:
                results.append(FileFault(path=path, error=parse_fault(one.object("error"))))
                continue
            stat, end = parse_stat(one.items("stat")), start + one.number("size")
            if not start <= end <= len(reply.data):
                raise Malformed("size")
            results.append(FileContent(path=path, stat=stat, content=reply.data[start:end]))
            start = end
        return results

    async def read_stream(self, path: WorkspacePath) -> AsyncIterator[bytes]:
        offset = 0
        stat: JsonValue = None
        while True:
            fields: dict[str, JsonValue] = {"path": path, "offset": offset, "length": _CHUNK_BYTES, "stat": stat}
            reply = await self.ask("range", fields)
            seen = parse_stat(reply.fields.items("stat"))
            if stat is None:
                stat = wire_stat(seen)
            if reply.data:
                offset += len(reply.data)
                yield reply.data
            if reply.fields.flag("eof"):
                return
            if not reply.data:
                raise Malformed("an empty chunk")

    async def write_files(self, files: Sequence[FileWrite]) -> Sequence[FileStat | FileFault]:
        if not files:
            return []
        total = sum(len(file.content) for file in files)
        if total > MAX_FILE_BATCH_BYTES:
            raise TooLarge(
                f"{total} bytes are more than one call writes ({MAX_FILE_BATCH_BYTES})",
                hint="Write the files in several calls.",
            )
        rows: list[JsonValue] = [
            {
                "path": file.path,
                "mode": file.mode,
                "kind": "l" if file.kind is EntryKind.SYMLINK else "f",
                "size": len(file.content),
                "expected": wire_stat(file.expected),
            }
            for file in files
        ]
        reply = await self.ask("write", {"files": rows}, b"".join(file.content for file in files))
        if len(files) > FLUSHED_FILES:
            await self.flush()
        paths = [file.path for file in files]
        return [
            FileFault(path=path, error=parse_fault(one.object("error"))) if "error" in one else written(path, one)
            for path, one in zip(paths, _one_each(reply.fields.objects("files"), paths), strict=True)
        ]

    async def write_stream(
        self,
        path: WorkspacePath,
        chunks: AsyncIterator[bytes],
        *,
        mode: int | None = None,
        expected: Stat | None = None,
    ) -> FileStat:
        reply = await self.ask("open", {"path": path, "mode": mode, "expected": wire_stat(expected)})
        upload = reply.fields.number("upload")
        try:
            async for chunk in chunks:
                for start in range(0, len(chunk), _CHUNK_BYTES):
                    await self.ask("append", {"upload": upload}, chunk[start : start + _CHUNK_BYTES])
            reply = await self.ask("commit", {"upload": upload, "abort": False})
        except BaseException:
            await self._abort(upload)
            raise
        await self.flush()
        return written(path, reply.fields)

    async def remove_files(self, paths: Sequence[WorkspacePath]) -> Sequence[FileFault]:
        faults: list[FileFault] = []
        for some in _batches(paths):
            reply = await self.ask("remove", {"paths": some})
            known = set(some)
            for one in reply.fields.objects("faults"):
                path = one.text("path")
                if path not in known:
                    raise Malformed("path")
                faults.append(FileFault(path=WorkspacePath(path), error=parse_fault(one.object("error"))))
        return faults

    async def stat_files(self, paths: Sequence[WorkspacePath]) -> Sequence[FileStat | FileFault | None]:
        results: list[FileStat | FileFault | None] = []
        for some in _batches(paths):
            reply = await self.ask("stat", {"paths": some})
            stats = _one_each(reply.fields.items("stats"), some)
            results += [_looked_at(path, stat) for path, stat in zip(some, stats, strict=True)]
        return results

    async def scan(
        self,
        *,
        under: WorkspacePath = ROOT,
        prune: Collection[str] = (),
        depth: int | None = None,
        limit: int = 1_000_000,
        watch: bool = False,
    ) -> Scan:
        found = _Found(limit)
        fields: dict[str, JsonValue] = {
            "under": under,
            "prune": list(prune),
            "depth": depth,
            "limit": limit,
            "watch": watch,
            "watcher": self.watcher,
        }
        answer = (await self.ask("scan", fields, within_s=_SCAN_S, on_event=found.add)).fields
        return Scan(
            entries=found.entries,
            invalid=[*answer.texts("invalid"), *found.invalid],
            unreadable=answer.texts("unreadable"),
            clock_ns=answer.number("clock_ns"),
            truncated=answer.flag("truncated"),
            cursor="" if answer.is_null("cursor") else str(answer.number("cursor")),
        )

    async def rescan(self, cursor: str) -> Rescan | None:
        if not cursor:
            return None
        found = _Found(_MAX_RESCANNED)
        answer = (
            await self.ask(
                "rescan", {"cursor": int(cursor), "watcher": self.watcher}, within_s=_SCAN_S, on_event=found.add
            )
        ).fields
        if answer.is_null("cursor"):
            return None
        return Rescan(
            gone=[WorkspacePath(path) for path in answer.texts("gone") if _is_path(path)],
            lost=[WorkspacePath(path) for path in answer.texts("lost") if _is_path(path)],
            linked=[WorkspacePath(path) for path in answer.texts("linked") if _is_path(path)],
            entries=found.entries,
            invalid=[*answer.texts("invalid"), *found.invalid],
            unreadable=answer.texts("unreadable"),
            cursor=str(answer.number("cursor")),
        )

    async def _abort(self, upload: int) -> None:
        with anyio.move_on_after(_ABORT_S, shield=True):
            try:
                await self.ask("commit", {"upload": upload, "abort": True})
            except VaporformError:
                return  # the connection's end drops it too


class _Found:
    """The rows that a scan sends before its reply."""

    def __init__(self, limit: int) -> None:
        self.entries: list[FileStat] = []
        self.invalid: list[str] = []
        self._limit = limit

    def add(self, event: Fields, _: bytes) -> None:
        for path, stat in event.rows("rows"):
            if _is_path(path):
                self.entries.append(FileStat(path=WorkspacePath(path), stat=parse_stat(stat)))
            else:
                self.invalid.append(ascii(path)[1:-1])
        if len(self.entries) > self._limit:
            raise Malformed("more rows than were asked for")


def written(asked: WorkspacePath, fields: Fields) -> FileStat:
    real = fields.text("path")
    return FileStat(path=WorkspacePath(real) if _is_path(real) else asked, stat=parse_stat(fields.items("stat")))


def _looked_at(path: WorkspacePath, item: object) -> FileStat | FileFault | None:
    if item is None:
        return None
    if isinstance(item, list):
        return FileStat(path=path, stat=parse_stat(item))  # pyright: ignore[reportUnknownArgumentType]  # looked at there
    return FileFault(path=path, error=parse_fault(parse_object(item, "stats").object("error")))


def wire_stat(stat: Stat | None) -> JsonValue:
    if stat is None:
        return None
    return [_KINDS[stat.kind], stat.size, stat.mode, stat.mtime_ns, stat.ctime_ns, stat.inode]


def _batches(paths: Sequence[WorkspacePath]) -> list[Sequence[WorkspacePath]]:
    return [paths[start : start + _PATHS_AT_ONCE] for start in range(0, len(paths), _PATHS_AT_ONCE)]


def _one_each(items: Sequence[_T], paths: Sequence[WorkspacePath]) -> Sequence[_T]:
    if len(items) != len(paths):
        raise Malformed("as many items as paths")
    return items


def _is_path(path: str) -> bool:
    return len(path) <= 4096 and not _CONTROL.search(path) and not _BAD_PART.search(path)
