"""Writes: the sandbox first, whose success is the caller's; then the mirror, whose failure is told and repaired."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence

from vaporform_mcp import edits
from vaporform_mcp.errors import Conflict, NotFound, NotText, SandboxLost, VaporformError
from vaporform_mcp.locks import HostLock, PathLocks
from vaporform_mcp.sandboxes.base import MAX_FILE_BATCH_BYTES, FileContent, FileFault, FileStat, FileWrite, Sandbox
from vaporform_mcp.stores.base import Blob
from vaporform_mcp.types import Change, Digest, Stat, WorkspacePath
from vaporform_mcp.workspace.files import digest_of, entry_of
from vaporform_mcp.workspace.lifeline import Lifeline
from vaporform_mcp.workspace.opening import Live
from vaporform_mcp.workspace.results import Replaced, Written
from vaporform_mcp.workspace.scheduling import SyncLoop
from vaporform_mcp.workspace.syncing import rebase

__all__ = ["Writer"]

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1024 * 1024
_EDIT_TRIES = 3


class Writer:
    """Writes one file at a time per path; different paths go on beside each other."""

    def __init__(self, lifeline: Lifeline, lock: HostLock, loop: SyncLoop, max_file_bytes: int) -> None:
        self._lifeline = lifeline
        self._lock = lock
        self._loop = loop
        self._max_file_bytes = max_file_bytes
        self._paths = PathLocks()

    async def write(self, path: WorkspacePath, content: bytes, *, made_by: str) -> Written:
        """Raises the sandbox's fault for that path; nothing is changed then."""
        async with self._paths.hold(path):
            return await self._write(path, content, made_by)

    async def replace(self, path: WorkspacePath, diff: str, *, made_by: str) -> Replaced:
        """Apply SEARCH/REPLACE blocks, all or nothing, to the file as it is when it is replaced.

        Raises `NotText`, `NotFound`, `Ambiguous`, `InvalidArgument`, and `Conflict` where others keep changing it.
        """
        blocks = edits.parse(diff)
        async with self._paths.hold(path):
            return await self._replace(path, blocks, made_by)

    async def _replace(self, path: WorkspacePath, blocks: Sequence[edits.Block], made_by: str) -> Replaced:
        before, edited = "", None
        for _ in range(_EDIT_TRIES):
            text, stat = await self._lifeline.use(lambda live: _read_text(live.sandbox, path))
            # Otherwise the write before came through, and only its answer was lost with the sandbox.
            if edited is None or text != edited.text:
                before, edited = text, edits.apply(text, blocks, path=path)
            content = edited.text.encode("utf-8", errors="surrogateescape")
            try:
                written = await self._write(path, content, made_by, expected=stat)
            except _Changed:
                continue
            return _replaced(path, before, edited, written)
        raise Conflict(
            f"{path!r} was changed by something else each time it was to be edited; the edit was not made",
            hint="Look at what keeps writing it (check_process lists what runs), read it again, then repeat the edit.",
        )

    async def _write(
        self, path: WorkspacePath, content: bytes, made_by: str, *, expected: Stat | None = None
    ) -> Written:
        async def attempt(live: Live) -> Written:
            async with self._lock.shared():
                if expected is not None and await live.sandbox.mark_tag() is None:
                    # What was read may be of a restore that was killed half way.
                    raise SandboxLost("the sandbox's files are not whole", hint="Repeat the call; they are replaced.")
                read_at = live.mirror.head.number
                stat = await _put(live.sandbox, path, content, expected)
                return await self._mirror(live, path, content, stat, read_at, made_by)

        return await self._lifeline.use(attempt)

    async def _mirror(
        self, live: Live, path: WorkspacePath, content: bytes, stat: FileStat, read_at: int, made_by: str
    ) -> Written:
        digest = digest_of(content)
        mirrored = False
        try:
            with live.mirror.attempt():
                # The path told may be a symlink: what is mirrored is the file that was written.
                revision = await self._commit(live, stat, content, digest, read_at, made_by)
            mirrored = True
            return _written(path, content, digest, revision=revision)
        except SandboxLost:
            raise
        except VaporformError as error:
            mirror_error = _told(error)
        except Exception:
            log.exception("the mirror failed at a write")
            mirror_error = "the mirror failed unexpectedly; it is tried again in the background"
        finally:
            # Also where this is cancelled: the file is in the sandbox, and only a sync can tell the mirror.
            if not mirrored:
                self._loop.request(made_by)
        self._lifeline.note_unmirrored(stat.path)
        return _written(path, content, digest, mirror_error=mirror_error)

    async def _commit(
        self, live: Live, file: FileStat, content: bytes, digest: Digest, read_at: int, made_by: str
    ) -> int:
        mirror = live.mirror
        entry = entry_of(file.path, file.stat, digest, content)
        if len(content) > MAX_FILE_BATCH_BYTES:
            await mirror.put_large(digest, len(content), _chunks(content), entry.mime_type)
        else:
            await mirror.put([Blob(digest=digest, content=content, mime_type=entry.mime_type)])

        async def read_again(changes: Sequence[Change], touched: frozenset[WorkspacePath]) -> Sequence[Change]:
            again = await rebase(live.sandbox, mirror, self._max_file_bytes, changes, touched)
            if not again:
                raise Conflict("another server wrote it too, and it could not be read again", hint="A sync follows.")
            return again

        revision = await mirror.commit(
            [Change(path=file.path, entry=entry)], read_at=read_at, rebase=read_again, made_by=made_by
        )
        return revision.number


def _written(
    path: WorkspacePath, content: bytes, digest: Digest, *, revision: int | None = None, mirror_error: str | None = None
) -> Written:
    return Written(
        path=path,
        size=len(content),
        digest=digest,
        mirrored=mirror_error is None,
        mirror_error=mirror_error,
        revision=revision,
    )


def _told(error: VaporformError) -> str:
    return f"{error.message}: {error.hint}" if error.hint else error.message


def _replaced(path: WorkspacePath, before: str, edited: edits.Edited, written: Written) -> Replaced:
    return Replaced(
        written=written,
        replacements=edited.replacements,
        diff=edits.unified(before, edited.text, path),
        notes=edited.notes,
    )


class _Changed(Conflict):
    """The file is not the one that was read: told apart from what else can be in conflict at a write."""


async def _put(sandbox: Sandbox, path: WorkspacePath, content: bytes, expected: Stat | None) -> FileStat:
    try:
        if len(content) > MAX_FILE_BATCH_BYTES:
            return await sandbox.write_stream(path, _chunks(content), expected=expected)
        result = (await sandbox.write_files([FileWrite(path=path, content=content, expected=expected)]))[0]
        if isinstance(result, FileFault):
            raise result.error
    except Conflict as error:
        raise _Changed(error.message, hint=error.hint) from error
    return result


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _CHUNK_BYTES):
        yield content[start : start + _CHUNK_BYTES]


async def _read_text(sandbox: Sandbox, path: WorkspacePath) -> tuple[str, Stat]:
    result = (await sandbox.read_files([path], max_bytes=MAX_FILE_BATCH_BYTES))[0]
    match result:
        case FileContent(content=content, stat=stat) if b"\0" not in content:
            # Bytes that are no UTF-8 survive an edit elsewhere in the file.
            return content.decode("utf-8", errors="surrogateescape"), stat
        case FileContent():
            raise NotText(f"{path!r} is a binary file", hint="Write it whole with write_to_file, encoding base64.")
        case FileFault(error=NotFound()):
            raise NotFound(
                f"{path!r} does not exist in the sandbox", hint="Create it with write_to_file, or look with list_files."
            )
        case FileFault(error=error):
            raise error
