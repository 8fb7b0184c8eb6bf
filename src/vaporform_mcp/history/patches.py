"""Changes of files as a patch in git's unified format, within a bound where one is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

import anyio.to_thread

from vaporform_mcp.edits import hunks
from vaporform_mcp.history.changes import FileChange
from vaporform_mcp.mime import is_text
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Digest, Entry, EntryKind

__all__ = ["MAX_TEXT_BYTES", "Excerpt", "excerpt", "patches"]

MAX_TEXT_BYTES = 1024 * 1024
"""A larger file is told by its size and digest, as a binary one is."""

_AT_ONCE = 8  # both sides of so many files fit into what a store is asked for at once
_IN_A_THREAD_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """The beginning of a patch. `left_out` changes are not in it at all; `truncated` says that anything is not."""

    text: str
    left_out: int
    truncated: bool


async def excerpt(store: Store, changes: Sequence[FileChange], *, max_chars: int) -> Excerpt:
    """As much of the patch as `max_chars` hold, cut at lines; each cut is told where it was made.

    One file alone takes no more than half of what is left, so that a large one does not hide the others.
    """
    shown: list[str] = []
    room, truncated = max_chars, False
    stream = patches(store, changes)
    try:
        async for patch in stream:
            is_last = len(shown) + 1 == len(changes)
            kept = _cut(patch, room if is_last else max(room // 2, min(room, 1_000)))
            if kept is None:
                truncated = True
                break
            truncated = truncated or kept is not patch
            shown.append(kept)
            room -= len(kept) + 1
    finally:
        await stream.aclose()
    return Excerpt(text="\n".join(shown), left_out=len(changes) - len(shown), truncated=truncated)


async def patches(store: Store, changes: Sequence[FileChange]) -> AsyncGenerator[str]:
    """One patch for each change, in their order, without a line end at its end.

    Together, each with a line end, they are what `git apply` takes, unless there are binary or very large files among
    them: of these, and of what is missing or damaged in the store, one line tells the sizes and digests.
    """
    for start in range(0, len(changes), _AT_ONCE):
        some = changes[start : start + _AT_ONCE]
        sides = [side for change in some for side in (change.before, change.after) if side is not None]
        blobs = await store.get_blobs({side.digest for side in sides if side.size <= MAX_TEXT_BYTES})
        for change in some:
            if sum(side.size for side in (change.before, change.after) if side) < _IN_A_THREAD_BYTES:
                yield _patch(change, blobs)
            else:
                yield await anyio.to_thread.run_sync(_patch, change, blobs)


def _cut(patch: str, room: int) -> str | None:
    if len(patch) <= room:
        return patch
    lines = patch.split("\n")
    room -= 80  # for what is said of the rest
    taken = 0
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        taken += 1
    if taken < 1:
        return None
    return "\n".join([*lines[:taken], f"[… {len(lines) - taken:,} more lines of this file's diff are left out]"])


def _patch(change: FileChange, blobs: Mapping[Digest, bytes]) -> str:
    before, after = change.before, change.after
    if before is not None and after is not None and before.kind is not after.kind:
        # As git has it, what becomes another kind of thing is removed and made anew.
        removed = FileChange(path=change.path, before=before, after=None)
        added = FileChange(path=change.path, before=None, after=after)
        return f"{_patch(removed, blobs)}\n{_patch(added, blobs)}"
    old, new = _quoted(f"a/{change.path}"), _quoted(f"b/{change.path}")
    rows = [f"diff --git {old} {new}"]
    if before is None and after is not None:
        rows.append(f"new file mode {_mode(after)}")
    elif after is None and before is not None:
        rows.append(f"deleted file mode {_mode(before)}")
    elif before is not None and after is not None and _mode(before) != _mode(after):
        rows += [f"old mode {_mode(before)}", f"new mode {_mode(after)}"]
    if before is not None and after is not None and before.digest == after.digest:
        return "\n".join(rows)
    old = old if before is not None else "/dev/null"
    new = new if after is not None else "/dev/null"
    texts = [_text(side, blobs) for side in (before, after)]
    if texts[0] is None or texts[1] is None:
        rows += [f"Binary files {old} and {new} differ: {_told(before, blobs)} -> {_told(after, blobs)}"]
    elif texts[0] or texts[1]:
        rows += [f"--- {_named(old)}", f"+++ {_named(new)}", *hunks(texts[0], texts[1])]
    return "\n".join(rows)


def _text(side: Entry | None, blobs: Mapping[Digest, bytes]) -> str | None:
    """None for what is not to be shown as text."""
    if side is None:
        return ""
    content = blobs.get(side.digest)
    if content is None or not is_text(content):
        return None
    return content.decode()


def _told(side: Entry | None, blobs: Mapping[Digest, bytes]) -> str:
    if side is None:
        return "nothing"
    damaged = side.size <= MAX_TEXT_BYTES and side.digest not in blobs
    return f"{side.size:,} bytes, sha256 {side.digest}" + (", missing or damaged in the store" if damaged else "")


def _mode(entry: Entry) -> str:
    """As git writes it where git knows it: 100644, 100755 and 120000."""
    return "120000" if entry.kind is EntryKind.SYMLINK else f"100{entry.mode & 0o777:o}"


def _quoted(name: str) -> str:
    """Names with quotes or backslashes in them, as git writes them."""
    if '"' not in name and "\\" not in name:
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _named(name: str) -> str:
    """A name with a space in it ends with a tab, so that tools know where."""
    return f"{name}\t" if " " in name else name
