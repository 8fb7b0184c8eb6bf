"""Reads: the sandbox first, the mirror where that fails; listings; and the names near one that is not there."""

from __future__ import annotations

import shlex

from vaporform_mcp.errors import (
    Conflict,
    LimitReached,
    NotFound,
    NotSupported,
    TooLarge,
    Unavailable,
    VaporformError,
)
from vaporform_mcp.exclusions import PRUNED_FOLDERS, Exclusions
from vaporform_mcp.history import near_paths
from vaporform_mcp.mime import mime_type
from vaporform_mcp.sandboxes.base import MAX_FILE_BATCH_BYTES, FileContent, FileStat, Sandbox, Scan
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Entry, EntryKind, WorkspacePath
from vaporform_mcp.workspace.files import HEAD_BYTES
from vaporform_mcp.workspace.ignoring import Unshown
from vaporform_mcp.workspace.lifeline import Lifeline
from vaporform_mcp.workspace.opening import Live
from vaporform_mcp.workspace.results import FileText, Listed, Listing

__all__ = ["MAX_READ_BYTES", "Reader"]

MAX_READ_BYTES = MAX_FILE_BATCH_BYTES


class Reader:
    def __init__(self, lifeline: Lifeline, store: Store, unshown: Unshown) -> None:
        self._lifeline = lifeline
        self._unshown = unshown
        self._store = store

    async def read(self, path: WorkspacePath) -> FileText:
        """The file as the sandbox has it, else as the mirror last had it.

        Raises:
            NotFound: neither has it; the hint names paths that are near.
            TooLarge: it is over `MAX_READ_BYTES`.
        """
        try:
            result = await self._lifeline.use(lambda live: _read(live.sandbox, path))
        except (Unavailable, Conflict, LimitReached, NotSupported) as unreachable:
            return await self._from_mirror(path, unreachable, removed=False)
        if isinstance(result, FileContent):
            kind = mime_type(path, result.content[:HEAD_BYTES])
            return FileText(
                path=path, content=result.content, mime_type=kind, source="sandbox", revision=None, removed=False
            )
        missing = NotFound(f"{path!r} does not exist", hint=await self._near(path))
        return await self._from_mirror(path, missing, removed=True)

    async def list(self, path: WorkspacePath, *, recursive: bool, limit: int) -> Listing:
        """What lies under a folder, in path order, without what lies in excluded folders below it.

        Raises `NotFound`, `NotADirectory`.
        """

        async def look(live: Live) -> tuple[Exclusions | None, Scan]:
            rules = await self._unshown.rules(live.sandbox, path)
            prune = rules.pruned_names if rules is not None else ()
            depth = None if recursive else 1
            return rules, await live.sandbox.scan(under=path, prune=prune, depth=depth, limit=limit)

        try:
            rules, scan = await self._lifeline.use(look)
        except NotFound as error:
            raise NotFound(error.message, hint=await self._near(path)) from error
        unlisted: list[WorkspacePath] = []
        entries: list[Listed] = []
        for item in scan.entries:
            if (
                recursive
                and rules is not None
                and rules.is_excluded_folder(WorkspacePath(item.path.rpartition("/")[0]))
            ):
                continue
            if recursive and rules is not None and _is_closed(item, rules):
                unlisted.append(item.path)
            entries.append(Listed(path=item.path, kind=item.stat.kind, size=item.stat.size))
        return Listing(entries=entries, unlisted=unlisted, invalid=scan.invalid, truncated=scan.truncated)

    async def _from_mirror(self, path: WorkspacePath, why: VaporformError, *, removed: bool) -> FileText:
        """Raises `why` where the mirror cannot help."""
        try:
            last = await self._store.last_entry(self._lifeline.record.id, path)
        except VaporformError as error:
            raise why from error
        if last is None:
            raise why
        revision, entry = last
        try:
            content = await self._blob(entry)
        except NotFound as damaged:
            told = f"The mirror's copy, of revision {revision}, is damaged: look for the content elsewhere."
            raise type(why)(why.message, hint=f"{told} {why.hint}".strip()) from damaged
        except VaporformError as error:
            raise why from error
        return FileText(
            path=path, content=content, mime_type=entry.mime_type, source="mirror", revision=revision, removed=removed
        )

    async def _blob(self, entry: Entry) -> bytes:
        if entry.size > MAX_READ_BYTES or entry.kind is not EntryKind.FILE:
            raise TooLarge("the mirror's copy cannot be shown")
        blobs = await self._store.get_blobs({entry.digest})
        if entry.digest not in blobs:
            raise NotFound("the mirror's copy is damaged")
        return blobs[entry.digest]

    async def _near(self, path: WorkspacePath) -> str:
        """A hint with the paths that are most like this one."""
        live = self._lifeline.live
        fallback = "Look with list_files."
        if live is None:
            return fallback
        try:
            scan = await live.sandbox.scan(prune=PRUNED_FOLDERS, limit=5_000)
        except VaporformError:
            return fallback
        near = near_paths(path, [item.path for item in scan.entries if item.stat.kind is EntryKind.FILE])
        return f"Near it: {', '.join(near)}." if near else fallback


def _is_closed(item: FileStat, rules: Exclusions) -> bool:
    return item.stat.kind is EntryKind.DIRECTORY and rules.is_excluded_folder(item.path)


async def _read(sandbox: Sandbox, path: WorkspacePath) -> FileContent | None:
    """None where it does not exist; raises its other faults."""
    result = (await sandbox.read_files([path], max_bytes=MAX_READ_BYTES))[0]
    if isinstance(result, FileContent):
        return result
    match result.error:
        case NotFound():
            return None
        case TooLarge():
            raise TooLarge(
                f"{path!r} is over {MAX_READ_BYTES // 1024**2} MiB",
                hint=f"Read a part of it with execute_command, such as: sed -n 1,200p {shlex.quote(path)}",
            )
        case error:
            raise error
