"""The tools that look back: the history, what differs, and checkpoints to go back to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaporform_mcp.tools.arguments import Arguments, Json, optional_text, optional_whole, text
from vaporform_mcp.tools.context import Context
from vaporform_mcp.tools.output import clean, cut_line, within
from vaporform_mcp.tools.spec import ToolResult, ToolSpec
from vaporform_mcp.tools.text import count, moment, paragraphs
from vaporform_mcp.types import parse_path

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.history import FileChange
    from vaporform_mcp.types import Revision, WorkspacePath
    from vaporform_mcp.workspace.results import Checkpoint, Diff, History

__all__ = ["TOOLS", "checkpoint_result", "diff_result", "history_result"]

DEFAULT_REVISIONS = 20
MAX_REVISIONS = 200
MAX_MADE_BY_CHARS = 120
MAX_PATCH_CHARS = 30_000
MAX_NAMED = 100
MAX_NAMES_CHARS = 8_000
MAX_ROWS_CHARS = 36_000
ROW_CHARS = 36  # of a row beside its path
MAX_PROBLEMS = 10
MAX_PROBLEM_CHARS = 300
_SIGNS = {"added": "A", "changed": "M", "removed": "D"}

_PATH_ALIASES = ("file_path", "absolute_path", "filename", "file", "directory", "dir", "folder")

PATH = optional_text("path", "File or folder; default: all", aliases=_PATH_ALIASES)
LIMIT = optional_whole("limit", minimum=1, aliases=("count", "max"))
BEFORE = optional_whole("before", "Below this revision", minimum=1)
FROM = optional_text(
    "from", "Revision or label; default: latest checkpoint", aliases=("start", "base", "from_revision")
)
TO = optional_text("to", "Default: the sandbox now", aliases=("end", "to_revision"))
LABEL = text("label", aliases=("name", "title"))


async def history(context: Context, arguments: Arguments) -> ToolResult:
    path = parse_path(arguments[PATH] or "", allow_root=True)
    limit = min(arguments[LIMIT] or DEFAULT_REVISIONS, MAX_REVISIONS)
    workspace = await context.workspace()
    return history_result(path, await workspace.history(path, before=arguments[BEFORE], limit=limit))


async def diff(context: Context, arguments: Arguments) -> ToolResult:
    path = parse_path(arguments[PATH] or "", allow_root=True)
    workspace = await context.workspace()
    found = await workspace.diff(
        arguments[FROM], arguments[TO], path, max_chars=MAX_PATCH_CHARS, wait_s=context.remaining_s()
    )
    return diff_result(path, found)


async def checkpoint(context: Context, arguments: Arguments) -> ToolResult:
    workspace = await context.workspace()
    return checkpoint_result(await workspace.checkpoint(arguments[LABEL], wait_s=context.remaining_s()))


def history_result(path: WorkspacePath, found: History) -> ToolResult:
    where = f" that touched {path}" if path else ""
    lines = "\n".join(_revision_line(each) for each in found.revisions)
    oldest = found.revisions[-1].number if found.has_more else 0
    return ToolResult(
        text=paragraphs(
            lines or f"There is no revision{where}.",
            f"[there are older ones: before={oldest}]" if found.has_more else "",
        ),
        facts={"revisions": [_revision_facts(each) for each in found.revisions], "truncated": found.has_more},
    )


def diff_result(path: WorkspacePath, found: Diff) -> ToolResult:
    to = f"the sandbox now, {found.after}" if found.is_sandbox else str(found.after)
    where = f" in {path}" if path else ""
    problems = _problems(found.unmirrored)
    said = paragraphs(*(f"Not compared: {problem}" for problem in problems))
    counts = {status: sum(change.status == status for change in found.changes) for status in _SIGNS}
    rows = within(found.changes, MAX_ROWS_CHARS, lambda each: len(each.path) + ROW_CHARS)
    facts: dict[str, Json] = {
        "from": found.before.number,
        "to": found.after.number,
        "sandbox": found.is_sandbox,
        **counts,
        "files": [{"path": each.path, "status": each.status} for each in rows],
        "truncated": found.shown.truncated or len(rows) < len(found.changes),
    }
    if not found.changes:
        return ToolResult(
            text=paragraphs(f"Nothing differs{where} between {found.before} and {to}.", said), facts=facts
        )
    told = ", ".join(f"{number:,} {status}" for status, number in counts.items() if number)
    return ToolResult(
        text=paragraphs(
            f"From {found.before} to {to}{where}: {told}.",
            said,
            _names(found.changes) if len(found.changes) > 1 else "",
            found.shown.text,
            f"[the diffs of {count(found.shown.left_out, 'more file')} are left out: give a path]"
            if found.shown.left_out
            else "",
        ),
        facts=facts,
    )


def checkpoint_result(made: Checkpoint) -> ToolResult:
    problems = _problems(made.unmirrored)
    facts: dict[str, Json] = {
        "label": made.point.label,
        "revision": made.point.number,
        "files_synced": made.changed,
        "warnings": [f"not in it: {problem}" for problem in problems],
    }
    return ToolResult(
        text=paragraphs(
            f"Checkpoint {made.point.label} is revision {made.point.number}.",
            *(f"Not in it: {problem}" for problem in problems),
        ),
        facts=facts,
    )


def _names(changes: Sequence[FileChange]) -> str:
    named = within(changes[:MAX_NAMED], MAX_NAMES_CHARS, lambda each: len(each.path))
    shown = [f"{_SIGNS[each.status]} {each.path}" for each in named]
    if len(changes) > len(named):
        shown.append(f"[and {len(changes) - len(named):,} more]")
    return "\n".join(shown)


def _problems(problems: Sequence[str]) -> list[str]:
    shown = [cut_line(each, MAX_PROBLEM_CHARS) for each in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        shown.append(f"{len(problems) - MAX_PROBLEMS:,} more")
    return shown


def _revision_line(revision: Revision) -> str:
    counts = {"added": revision.added, "changed": revision.changed, "removed": revision.removed}
    told = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number) or "nothing changed"
    label = f", checkpoint {revision.label}" if revision.label else ""
    return f"{revision.number}  {moment(revision.time)}  {told}{label}; {_made_by(revision)}"


def _revision_facts(revision: Revision) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "number": revision.number,
        "time": moment(revision.time),
        "made_by": _made_by(revision),
        "added": revision.added,
        "changed": revision.changed,
        "removed": revision.removed,
    }
    return facts if revision.label is None else {**facts, "label": revision.label}


def _made_by(revision: Revision) -> str:
    return cut_line(" ".join(clean(revision.made_by).split()), MAX_MADE_BY_CHARS)


TOOLS = (
    ToolSpec(
        name="history",
        title="History",
        description="List the revisions of the files, newest first. Every write and command that changed any is one.",
        arguments=(PATH, LIMIT, BEFORE),
        run=history,
        read_only=True,
    ),
    ToolSpec(
        name="diff",
        title="Diff",
        description="Show what changed between two revisions, or since one, as a unified diff.",
        arguments=(FROM, TO, PATH),
        run=diff,
        read_only=True,
    ),
    ToolSpec(
        name="checkpoint",
        title="Checkpoint",
        description="Give the files as they are now a label to go back to.",
        arguments=(LABEL,),
        run=checkpoint,
        output={
            "label": {"type": "string"},
            "revision": {"type": "integer"},
            "files_synced": {"type": "integer"},
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
        required_output=("label", "revision"),
    ),
)
