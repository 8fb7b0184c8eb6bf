"""What a workspace's own `.vaporformignore` keeps out of its mirror, read again whenever it changed."""

from __future__ import annotations

from collections.abc import Sequence

from vaporform_mcp.exclusions import IGNORE_FILE, MAX_IGNORE_BYTES, Exclusions, faulty_lines
from vaporform_mcp.sandboxes.base import FileContent, FileStat, Sandbox, Scan
from vaporform_mcp.types import EntryKind, Stat, WorkspacePath

__all__ = ["ProjectExclusions", "Unshown"]

_MAX_NAMED = 5


class ProjectExclusions:
    """The rules of the settings with those of one sandbox's workspace after them."""

    def __init__(self, sandbox: Sandbox, rules: Exclusions) -> None:
        self._sandbox = sandbox
        self._rules = rules
        self._read_at: Stat | None = None
        self.now = rules
        self.problems: Sequence[str] = ()

    async def scan(self) -> Scan:
        """The sandbox's files, less what need not be looked at; `now` is right for them afterwards."""
        scan = await self._scan()
        found = next((item.stat for item in scan.entries if item.path == IGNORE_FILE), None)
        if found == self._read_at:
            return scan
        pruned = self.now.pruned_names
        await self._read(found)
        self._read_at = found
        return scan if pruned == self.now.pruned_names else await self._scan()

    async def _scan(self) -> Scan:
        return await self._sandbox.scan(prune=self.now.pruned_names, watch=True)

    async def current(self) -> Exclusions:
        """The rules as they are now."""
        (found,) = await self._sandbox.stat_files([IGNORE_FILE])
        stat = found.stat if isinstance(found, FileStat) else None
        if stat != self._read_at:
            await self._read(stat)
            self._read_at = stat
        return self.now

    async def _read(self, stat: Stat | None) -> None:
        self.now, self.problems = self._rules, ()
        if stat is None or stat.kind is not EntryKind.FILE:
            return
        (read,) = await self._sandbox.read_files([IGNORE_FILE], max_bytes=MAX_IGNORE_BYTES, follow=False)
        if not isinstance(read, FileContent):
            self.problems = [f"{IGNORE_FILE} is not heeded: {read.error.message}"]
            return
        lines = read.content.decode("utf-8", errors="replace").removeprefix("\ufeff").splitlines()
        self.now = self._rules.extended(lines)
        self.problems = [f"{IGNORE_FILE}: {line[:80]!r} is no pattern" for line in faulty_lines(lines)[:_MAX_NAMED]]


class Unshown:
    """What listings and searches of a workspace pass over: what its mirror leaves out, unless it is asked for."""

    def __init__(self, rules: Exclusions) -> None:
        # A copy: what an instance remembers of folders is used from one thread at a time, and a sync has its own.
        self._rules = rules.extended(())
        self._of: ProjectExclusions | None = None
        self._sandbox: Sandbox | None = None

    async def rules(self, sandbox: Sandbox, under: WorkspacePath) -> Exclusions | None:
        """Those for what lies under a folder; None where the folder is left out itself, and so was asked for."""
        if self._of is None or self._sandbox is not sandbox:
            self._of, self._sandbox = ProjectExclusions(sandbox, self._rules), sandbox
        rules = await self._of.current()
        return None if rules.is_excluded_folder(under) else rules
