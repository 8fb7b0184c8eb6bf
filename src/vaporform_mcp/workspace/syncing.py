"""Sync: make the mirror equal to the sandbox, incrementally, as one revision."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import anyio.to_thread

from vaporform_mcp.errors import SandboxLost
from vaporform_mcp.exclusions import Exclusions, MirrorRules
from vaporform_mcp.sandboxes.base import Sandbox, Scan
from vaporform_mcp.sync import Index, Nominated, changes_between, is_unchanged, nominate
from vaporform_mcp.types import Change, Entry, EntryKind, Stat, WorkspacePath
from vaporform_mcp.workspace.capture import Captured, capture
from vaporform_mcp.workspace.glimpsing import Look, Standing, files_present, glimpse
from vaporform_mcp.workspace.ignoring import ProjectExclusions
from vaporform_mcp.workspace.marks import Mark, decode, encode
from vaporform_mcp.workspace.mirror import Mirror
from vaporform_mcp.workspace.repository import FOLDER, Repository

__all__ = ["SyncReport", "Syncer", "rebase"]

_ROWS_IN_THREAD = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """`changed` counts paths that this sync added, changed or removed; `problems` names what stayed out, and why.

    `unread` are those among these that are in the sandbox and could not be read: it alone has what they hold.
    """

    revision: int
    changed: int
    problems: Sequence[str]
    unread: Mapping[WorkspacePath, str] = field(default_factory=dict[WorkspacePath, str])


class Syncer:
    """Syncs one sandbox into one mirror. One sync at a time: the caller sees to that."""

    def __init__(self, sandbox: Sandbox, mirror: Mirror, rules: MirrorRules) -> None:
        self._sandbox = sandbox
        self._exclusions = ProjectExclusions(sandbox, rules.exclusions)
        self._repository = Repository(sandbox)
        self._max_file_bytes = rules.max_file_bytes
        self._mirror = mirror
        self._raw_mark: bytes | None = None
        self._mark: Mark | None = None
        self._standing: Standing | None = None

    async def run(
        self, *, made_by: str | Callable[[], str], label: str | None = None, thorough: bool = True
    ) -> SyncReport:
        """Look, read what may have changed, put its blobs, commit one revision, mark.

        A `made_by` that is to be called is asked after the look, which sees what was done until then.
        Without `thorough` only what the sandbox's watch names is looked at, where it has one that can tell. No revision
        is made where nothing changed and no label is asked for. Raises `SandboxLost` when the sandbox has no mark of
        this epoch (it must be restored first), `StoreUnavailable`.
        """
        # Where anything below fails, what the watch named was not synced, and it will not name it again.
        standing, self._standing = self._standing, None
        look = None if thorough or standing is None else await self._glimpse(standing)
        if look is None:
            look = await self._survey()
        captured = await capture(self._sandbox, self._mirror, look.wanted, max_file_bytes=self._max_file_bytes)
        captured.kept |= look.kept
        gone = await self._confirmed_gone([*look.doubtful, *captured.gone])
        removed = [path for path in (*gone, *look.covered) if path not in look.mark.withheld]
        if removed and await self._sandbox.mark_tag() is None:
            # A sandbox that slept may have come back without its files while it was looked at.
            raise _files_are_gone()
        changes = changes_between(look.tree, captured.found, removed)
        compared_with = look.read_at
        if changes or label is not None:
            revision = await self._mirror.commit(
                changes,
                read_at=look.read_at,
                rebase=partial(rebase, self._sandbox, self._mirror, self._max_file_bytes),
                made_by=made_by if isinstance(made_by, str) else made_by(),
                label=label,
            )
            if revision.number == look.read_at + 1:
                compared_with = revision.number
        if look.scan is None:
            assert standing is not None  # noqa: S101 - a glimpse follows from one
            self._standing = replace(
                standing,
                cursor=look.cursor,
                revision=compared_with,
                hidden=look.hidden,
                kept=frozenset(captured.kept),
            )
        else:
            same = {path: stat for path, stat in look.same.items() if path not in captured.kept}
            # Written also when only the clock moved on: what was read lay within its grain, and need not be read again.
            tag = await self._write_mark(
                look.mark, look.scan, {**same, **captured.stats}, compared_with, read=bool(captured.stats)
            )
            self._standing = await self._stand(look, look.scan, captured, compared_with, tag)
        return SyncReport(
            revision=self._mirror.head.number,
            changed=len(changes),
            problems=[
                *(f"{path}: {why}" for path, why in captured.kept.items()),
                *look.problems,
                *self._exclusions.problems,
                *self._repository.problems,
            ],
            unread=dict(captured.kept),
        )

    async def _glimpse(self, standing: Standing) -> Look | None:
        if self._mark is None or self._mark.epoch != self._mirror.epoch:
            return None
        return await glimpse(self._sandbox, self._mirror, self._mark, standing, self._exclusions.now, self._repository)

    async def _survey(self) -> Look:
        """Look at everything."""
        mark = await self._read_mark()
        tree = dict(await self._mirror.tree())
        read_at = self._mirror.head.number
        suspects = await self._suspects(mark, tree)
        scan = await self._exclusions.scan()
        nominated = await _nominate(scan, mark, tree, suspects, self._exclusions.now)
        unlisted = [path for path in nominated.unlisted if not _lies_under(path, scan.unreadable)]
        has_git = any(item.path == FOLDER and item.stat.kind is EntryKind.DIRECTORY for item in scan.entries)
        kept_by_git = await self._repository.paths(is_there=has_git, pruned=self._exclusions.now.pruned_names)
        unlisted += [path for path in kept_by_git if path not in tree]
        present, kept = await files_present(self._sandbox, unlisted)
        shown = {path for path, _ in present}
        vouched = {
            path: stat for path, stat in present if path not in suspects and is_unchanged(path, stat, mark.index)
        }
        return Look(
            mark=mark,
            tree=tree,
            read_at=read_at,
            wanted=[*nominated.read, *(item for item in present if item[0] not in vouched)],
            doubtful=[path for path in unlisted if path not in shown and path not in kept],
            covered=nominated.covered,
            kept=kept,
            same={**nominated.same, **vouched},
            problems=_problems(scan),
            hidden=frozenset({*shown, *kept}),
            has_git=has_git,
            cursor=scan.cursor,
            scan=scan,
        )

    async def _stand(
        self, look: Look, scan: Scan, captured: Captured, revision: int, tag: str | None
    ) -> Standing | None:
        """What the next glimpse may follow from; None where it could miss something. `tag`: of a mark just written."""
        if not scan.cursor or scan.truncated or scan.invalid or scan.unreadable or look.mark.withheld:
            return None
        tag = tag or await self._sandbox.mark_tag()
        if tag is None:
            return None
        return Standing(
            cursor=scan.cursor,
            mark_tag=tag,
            revision=revision,
            hidden=look.hidden,
            kept=frozenset(captured.kept),
            has_git=look.has_git,
            problems=look.problems,
        )

    async def _suspects(self, mark: Mark, tree: Mapping[WorkspacePath, Entry]) -> Collection[WorkspacePath]:
        """Paths of which the tree has changed since it was last compared with the sandbox.

        The index vouches only for the tree that it was made with: what others, or our own writes, committed since may
        differ from a file whose stat is as it was.
        """
        changed = await self._mirror.changed_since(mark.revision)
        return tree.keys() if changed is None else changed

    async def _confirmed_gone(self, doubtful: Sequence[WorkspacePath]) -> list[WorkspacePath]:
        """The scan nominates, looking decides: only what is still not there now, or no file any more, is removed."""
        unique = list(dict.fromkeys(doubtful))
        present, kept = await files_present(self._sandbox, unique)
        shown = {path for path, _ in present}
        return [path for path in unique if path not in shown and path not in kept]

    async def _read_mark(self) -> Mark:
        raw = await self._sandbox.read_mark()
        if raw is None:
            raise _files_are_gone()
        if raw != self._raw_mark:
            self._mark = await anyio.to_thread.run_sync(decode, raw)
            self._raw_mark = raw
        mark = self._mark
        if mark is None or (mark.workspace_id, mark.epoch) != (self._sandbox.workspace_id, self._mirror.epoch):
            raise SandboxLost(
                "the sandbox belongs to an earlier time of this workspace", hint="Repeat the call; it is replaced."
            )
        return mark

    async def _write_mark(
        self, old: Mark, scan: Scan, stats: Mapping[WorkspacePath, Stat], revision: int, *, read: bool
    ) -> str | None:
        """Answers with its tag; None where the one that is there says the same."""
        if not read and old.revision == revision and old.index.stats == stats:
            return None
        mark = Mark(
            workspace_id=old.workspace_id,
            epoch=old.epoch,
            revision=revision,
            index=Index(clock_ns=scan.clock_ns, stats=stats),
            withheld=old.withheld - stats.keys(),
        )
        raw = encode(mark) if len(stats) < _ROWS_IN_THREAD else await anyio.to_thread.run_sync(encode, mark)
        tag = await self._sandbox.write_mark(raw)
        self._mark, self._raw_mark = mark, raw
        return tag


async def rebase(
    sandbox: Sandbox, mirror: Mirror, max_file_bytes: int, changes: Sequence[Change], touched: frozenset[WorkspacePath]
) -> Sequence[Change]:
    """Read the paths that others committed meanwhile once more, and commit what they are now."""
    present, kept = await files_present(sandbox, sorted(touched))
    captured = await capture(sandbox, mirror, present, max_file_bytes=max_file_bytes)
    shown = {path for path, _ in present}
    gone = [path for path in touched if path not in shown and path not in kept] + captured.gone
    fresh: Mapping[WorkspacePath, Entry | None] = {**captured.found, **dict.fromkeys(gone)}
    untouched = [change for change in changes if change.path not in touched]
    return [*untouched, *(Change(path=path, entry=entry) for path, entry in fresh.items())]


async def _nominate(
    scan: Scan,
    mark: Mark,
    tree: Mapping[WorkspacePath, Entry],
    suspects: Collection[WorkspacePath],
    exclusions: Exclusions,
) -> Nominated:
    def work() -> Nominated:
        items = ((item.path, item.stat) for item in scan.entries)
        return nominate(items, mark.index, tree, complete=not scan.truncated, exclusions=exclusions, suspects=suspects)

    # In a thread of its own the calls that come meanwhile wait for a few milliseconds only.
    return work() if len(scan.entries) < _ROWS_IN_THREAD else await anyio.to_thread.run_sync(work)


def _files_are_gone() -> SandboxLost:
    return SandboxLost("the sandbox's files are gone", hint="Repeat the call; they come back from the mirror.")


def _lies_under(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _problems(scan: Scan) -> list[str]:
    problems = [f"{name}: not a name that can be mirrored" for name in scan.invalid]
    problems += [f"{path}: the folder cannot be read" for path in scan.unreadable]
    if scan.truncated:
        problems.append("more files than a sync looks at; deletions are not followed")
    return problems
