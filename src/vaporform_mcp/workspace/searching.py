"""Searching files by regular expression, bounded in time and memory."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Sequence

import anyio.to_thread

from vaporform_mcp.errors import InvalidArgument, LimitReached, NotADirectory
from vaporform_mcp.exclusions import Exclusions
from vaporform_mcp.mime import is_text
from vaporform_mcp.sandboxes.base import FileContent, FileFault, FileStat, Sandbox
from vaporform_mcp.types import EntryKind, WorkspacePath
from vaporform_mcp.workspace.files import batches
from vaporform_mcp.workspace.results import Found, Match

__all__ = ["search"]

MAX_FILE_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 4 * 1024 * 1024
CONTEXT_LINES = 1
MAX_LINE = 500
SEARCH_LIMIT_S = 20.0
PATTERN_LIMIT_S = 2.0
MAX_PATTERN = 2_000


async def search(
    sandbox: Sandbox,
    under: WorkspacePath,
    pattern: str,
    *,
    rules: Exclusions | None,
    file_pattern: str | None,
    limit: int,
) -> Found:
    """Lines that match, in path order, at most `limit`, each with the line before and after it.

    What `rules` exclude is passed over, but for a file that is `under` itself.

    Raises:
        InvalidArgument: the pattern is not a regular expression.
        LimitReached: the pattern takes too long on these files.
    """
    finder = _Finder(pattern)
    files, skipped = await _files(sandbox, under, rules, file_pattern)
    matches: list[Match] = []
    searched = 0
    deadline = time.monotonic() + SEARCH_LIMIT_S
    for batch in batches(((item.path, item.stat.size) for item in files), max_bytes=MAX_BATCH_BYTES):
        if time.monotonic() > deadline:
            return Found(matches=matches, files=searched, skipped=skipped + len(files) - searched, truncated=True)
        results = await sandbox.read_files(batch, max_bytes=MAX_FILE_BYTES)
        contents = [result for result in results if isinstance(result, FileContent) and is_text(result.content)]
        skipped += len(batch) - len(contents)
        searched += len(contents)
        wanted = limit + 1 - len(matches)
        matches += await anyio.to_thread.run_sync(finder.find, contents, wanted)
        if len(matches) > limit:
            return Found(matches=matches[:limit], files=searched, skipped=skipped, truncated=True)
    return Found(matches=matches, files=searched, skipped=skipped, truncated=False)


async def _files(
    sandbox: Sandbox, under: WorkspacePath, rules: Exclusions | None, file_pattern: str | None
) -> tuple[list[FileStat], int]:
    unreadable = 0
    try:
        entries = (await sandbox.scan(under=under, prune=rules.pruned_names if rules else ())).entries
    except NotADirectory:
        items = await sandbox.stat_files([under])
        entries = [item for item in items if isinstance(item, FileStat)]
        unreadable = sum(isinstance(item, FileFault) for item in items)
    files = [
        item
        for item in entries
        if item.stat.kind is EntryKind.FILE
        and (rules is None or item.path == under or not rules.is_excluded(item.path))
        and (file_pattern is None or _named(item.path, file_pattern))
    ]
    fitting = [item for item in files if item.stat.size <= MAX_FILE_BYTES]
    return fitting, len(files) - len(fitting) + unreadable


def _named(path: str, pattern: str) -> bool:
    """A glob without a slash looks at the name, one with a slash at the whole path; {a,b} are alternatives."""
    subject = path if "/" in pattern else path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(subject, one.replace("**/", "*")) for one in _alternatives(pattern))


def _alternatives(pattern: str) -> list[str]:
    before, brace, rest = pattern.partition("{")
    inner, closing, after = rest.partition("}")
    if not brace or not closing:
        return [pattern]
    return [before + one + after for one in inner.split(",")]


class _Finder:
    """A compiled pattern. The `regex` library has a time-out; the standard one can run for ever on a bad pattern."""

    def __init__(self, pattern: str) -> None:
        import regex

        if not pattern or len(pattern) > MAX_PATTERN:
            raise InvalidArgument(
                f"regex must have 1 to {MAX_PATTERN} characters", hint="Give a regular expression, such as def \\w+\\(."
            )
        try:
            self._pattern = regex.compile(pattern, regex.VERSION0)
        except regex.error as error:
            raise InvalidArgument(
                f"{pattern[:200]!r} is not a regular expression: {error}",
                hint="Escape ( ) [ ] { } . * + ? | ^ $ with a backslash to find them literally.",
            ) from error

    def find(self, contents: Sequence[FileContent], limit: int) -> list[Match]:
        found: list[Match] = []
        deadline = time.monotonic() + PATTERN_LIMIT_S
        for file in contents:
            lines = file.content.decode("utf-8", errors="replace").splitlines()
            for number, line in enumerate(lines):
                if self._matches(line, deadline):
                    found.append(self._match(file.path, lines, number))
                    if len(found) >= limit:
                        return found
        return found

    def _matches(self, line: str, deadline: float) -> bool:
        try:
            return self._pattern.search(line, timeout=max(0.001, deadline - time.monotonic())) is not None
        except TimeoutError as error:
            raise LimitReached(
                "the regular expression takes too long on these files",
                hint="Use a simpler one without nested repetition, a narrower path, or a file_pattern.",
            ) from error

    def _match(self, path: WorkspacePath, lines: Sequence[str], number: int) -> Match:
        first = max(0, number - CONTEXT_LINES)
        return Match(
            path=path,
            line=number + 1,
            text=lines[number][:MAX_LINE],
            before=[line[:MAX_LINE] for line in lines[first:number]],
            after=[line[:MAX_LINE] for line in lines[number + 1 : number + 1 + CONTEXT_LINES]],
        )
