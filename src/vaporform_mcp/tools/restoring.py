"""The tool that goes back: files as they were at an earlier revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaporform_mcp.tools.arguments import Arguments, Json, flag, optional_text, text
from vaporform_mcp.tools.context import Answer, Context
from vaporform_mcp.tools.output import cut_line
from vaporform_mcp.tools.spec import ToolResult, ToolSpec
from vaporform_mcp.tools.text import count, paragraphs
from vaporform_mcp.types import parse_path

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.history import Point
    from vaporform_mcp.types import WorkspacePath
    from vaporform_mcp.workspace.results import Restored

__all__ = ["TOOLS", "restored_result"]

MIN_WAIT_S = 5.0
MAX_PROBLEMS = 10
MAX_PROBLEM_CHARS = 300

_PATH_ALIASES = ("file_path", "absolute_path", "filename", "file", "directory", "dir", "folder")

TO = text("to", "Revision or label", aliases=("revision", "label", "checkpoint", "at"))
PATH = optional_text("path", "File or folder; default: all", aliases=_PATH_ALIASES)
CONFIRM = flag("confirm", "The user agreed to restore all")


async def restore(context: Context, arguments: Arguments) -> ToolResult:
    path = parse_path(arguments[PATH] or "", allow_root=True)
    workspace = await context.workspace()
    to = await workspace.find(arguments[TO])
    if not path and not workspace.is_restoring(to, path):
        answer = await context.ask(
            f"Make all files of the workspace {context.name} as they were at {to}? "
            "What is there now stays in its history, so that this can be undone."
        )
        if answer is Answer.NOBODY and arguments[CONFIRM]:
            answer = Answer.YES
        if answer is not Answer.YES:
            return _unrestored(to, path, _refusal(answer, to))

    def on_progress(done: int, total: int) -> None:
        context.activity.message = f"restoring {done:,} of {total:,} files"

    # Asking may have taken most of the limit; most restores take a moment.
    wait_s = max(MIN_WAIT_S, context.remaining_s())
    restored = await workspace.restore(to, path, wait_s=wait_s, on_progress=on_progress)
    if restored is None:
        again = f'restore(to="{to.number}"' + (f', path="{path}")' if path else ")")
        return _unrestored(to, path, f"The restore to {to} goes on ({context.activity.message}). {again} joins it.")
    return restored_result(restored)


def restored_result(restored: Restored) -> ToolResult:
    facts: dict[str, Json] = {
        "restored": not restored.problems or restored.files_restored + restored.files_removed > 0,
        "to": restored.to.number,
        "files_restored": restored.files_restored,
        "files_removed": restored.files_removed,
        "mirrored": restored.mirror_error is None,
        "message": _text(restored),
    }
    if restored.revision is not None:
        facts["revision"] = restored.revision
    if restored.path:
        facts["path"] = restored.path
    if restored.mirror_error is not None:
        facts["mirror_error"] = restored.mirror_error
    return ToolResult(text=_text(restored), facts=facts)


def _unrestored(to: Point, path: WorkspacePath, said: str) -> ToolResult:
    facts: dict[str, Json] = {"restored": False, "to": to.number, "files_restored": 0, "files_removed": 0}
    if path:
        facts["path"] = path
    return ToolResult(text=said, facts={**facts, "message": said})


def _refusal(answer: Answer, to: Point) -> str:
    match answer:
        case Answer.SILENCE:
            return "Not restored: no answer came from the user. Nothing was changed."
        case Answer.NOBODY:
            return (
                f"Not restored yet: all files would be made as they were at {to}. Ask the user; if they agree, call "
                f'restore(to="{to.number}", confirm=true).'
            )
        case _:
            return "Not restored: the user declined. Nothing was changed."


def _text(restored: Restored) -> str:
    what = restored.path or "all files"
    problems = [
        f"Not as at {restored.to}: {cut_line(f'{path}: {why}', MAX_PROBLEM_CHARS)}"
        for path, why in list(restored.problems.items())[:MAX_PROBLEMS]
    ]
    if len(restored.problems) > MAX_PROBLEMS:
        problems.append(f"[and {len(restored.problems) - MAX_PROBLEMS:,} more]")
    if not restored.files_restored and not restored.files_removed:
        nothing = "Nothing was restored" if problems else f"Nothing to restore: {what} as at {restored.to} already"
        return paragraphs(f"{nothing}.", *problems)
    done = ", ".join(
        said
        for said in (
            f"{count(restored.files_restored, 'file')} restored" if restored.files_restored else "",
            f"{count(restored.files_removed, 'file')} removed" if restored.files_removed else "",
        )
        if said
    )
    if restored.mirror_error is not None:
        state = f"not mirrored yet: {restored.mirror_error}; a later sync repairs it"
    else:
        state = f"mirrored as revision {restored.revision}"
    where = f", path={restored.path}" if restored.path else ""
    return paragraphs(
        f"Restored {what} to {restored.to}: {done}, {state}. Undo: restore(to={restored.undo}{where}).", *problems
    )


TOOLS = (
    ToolSpec(
        name="restore",
        title="Restore",
        description="Make files as they were at a revision. Itself a revision, so that it can be undone.",
        arguments=(TO, PATH, CONFIRM),
        run=restore,
        destructive=True,
        closed=True,
        idempotent=True,
        output={
            "restored": {"type": "boolean"},
            "revision": {"type": "integer"},
            "files_restored": {"type": "integer"},
            "files_removed": {"type": "integer"},
            "message": {"type": "string"},
        },
        required_output=("restored", "message"),
    ),
)
