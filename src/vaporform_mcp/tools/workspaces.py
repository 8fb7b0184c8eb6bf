"""The tools that open, list and delete workspaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaporform_mcp.errors import NotFound
from vaporform_mcp.tools.arguments import Arguments, Json, flag, optional_flag, optional_text, optional_whole, text
from vaporform_mcp.tools.context import Answer, Context
from vaporform_mcp.tools.output import cut_line
from vaporform_mcp.tools.spec import ToolResult, ToolSpec
from vaporform_mcp.tools.text import count, moment, paragraphs, size
from vaporform_mcp.types import TRASH_DAYS, Resources

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.workspace.results import Opened, Summary

__all__ = ["TOOLS", "opened_result", "summaries_result"]

MAX_LISTED = 150
MAX_COMMAND_CHARS = 300

NAME = text("name", "Lowercase letters, digits and hyphens", aliases=("workspace",))
OLD_NAME = text("name", aliases=("workspace",))
GIT_URL = optional_text("git_url", "Import this repository", aliases=("repository", "repo", "url", "repo_url"))
BRANCH = optional_text("branch", aliases=("git_branch", "ref"))
COMMIT = optional_text("commit", aliases=("git_commit", "sha"))
DEPTH = optional_whole("depth", minimum=1)
IMAGE = optional_text("image")
SNAPSHOT = optional_text("snapshot")
CPU = optional_whole("cpu", minimum=1, aliases=("cpus",))
MEMORY = optional_whole("memory_gb", minimum=1, aliases=("memory",))
DISK = optional_whole("disk_gb", minimum=1, aliases=("disk",))
PUBLIC = optional_flag("public", "Previews for anyone with the URL")
CONFIRM = flag("confirm", "The user agreed")


async def open_workspace(context: Context, arguments: Arguments) -> ToolResult:
    from vaporform_mcp.manager import OpenRequest

    name = context.rename(arguments[NAME])
    resources = Resources(cpu=arguments[CPU], memory_gb=arguments[MEMORY], disk_gb=arguments[DISK])
    request = OpenRequest(
        git_url=arguments[GIT_URL],
        branch=arguments[BRANCH],
        commit=commit.lower() if (commit := arguments[COMMIT]) is not None else None,
        depth=arguments[DEPTH],
        image=arguments[IMAGE],
        snapshot=arguments[SNAPSHOT],
        public=arguments[PUBLIC],
        resources=resources if resources != Resources() else None,
    )
    manager = await context.manager()
    opened = await manager.open(
        context.owner, name, request, wait_s=context.remaining_s(), on_phase=context.activity.phase
    )
    return opened_result(opened)


async def list_workspaces(context: Context, arguments: Arguments) -> ToolResult:
    manager = await context.manager()
    return summaries_result(await manager.list(context.owner))


async def delete_workspace(context: Context, arguments: Arguments) -> ToolResult:
    name = context.rename(arguments[OLD_NAME])
    manager = await context.manager()
    summary = next((each for each in await manager.list(context.owner) if each.name == name), None)
    if summary is None or summary.state == "deleted":
        raise NotFound(f"there is no workspace {name}", hint="list_workspaces names those that there are.")
    what = f"workspace {name} ({count(summary.files, 'file')}, {size(summary.size)})"
    answer = await context.ask(f"Delete {what}? It stays in the trash for {TRASH_DAYS} days.")
    if answer is Answer.NOBODY and arguments[CONFIRM]:
        answer = Answer.YES
    facts: dict[str, Json] = {"name": name, "deleted": answer is Answer.YES}
    if answer is Answer.YES:
        await manager.delete(context.owner, name)
        facts["undelete"] = f"vaporform-mcp undelete {name}"
        facts["days"] = TRASH_DAYS
    facts["message"] = said = _deletion_text(answer, what, name)
    return ToolResult(text=said, facts=facts)


def opened_result(opened: Opened) -> ToolResult:
    return ToolResult(text=_opened_text(opened), facts=_opened_facts(opened))


def summaries_result(summaries: Sequence[Summary]) -> ToolResult:
    shown = summaries[:MAX_LISTED]
    rows: list[Json] = [
        {
            "name": each.name,
            "state": each.state,
            "revision": each.revision,
            "files": each.files,
            "size": each.size,
            "last_used": moment(each.last_used),
        }
        for each in shown
    ]
    lines = "\n".join(_summary_line(each) for each in shown)
    left_out = len(summaries) - len(shown)
    return ToolResult(
        text=paragraphs(lines, f"[{left_out:,} more of {len(summaries):,}]" if left_out else "")
        or "There is no workspace yet.",
        facts={"workspaces": rows, "total": len(summaries)},
    )


def _deletion_text(answer: Answer, what: str, name: str) -> str:
    match answer:
        case Answer.YES:
            return (
                f"Deleted {what}. For {TRASH_DAYS} days the user can have it back with: vaporform-mcp undelete {name}"
            )
        case Answer.NO:
            return f"Not deleted: the user declined. Nothing of {what} was changed."
        case Answer.SILENCE:
            return f"Not deleted: no answer came from the user. Nothing of {what} was changed."
        case Answer.NOBODY:
            return (
                f"Not deleted yet: {what}. Ask the user; if they agree, call "
                f'delete_workspace(name="{name}", confirm=true).'
            )


def _opened_facts(opened: Opened) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "name": opened.name,
        "created": opened.created,
        "state": opened.state,
        "phase": opened.phase.value,
        "percent": round(opened.percent),
        "revision": opened.revision,
        "files": opened.files,
        "toolchains": dict(opened.toolchains),
    }
    if opened.isolation is not None:
        facts["isolation"] = opened.isolation
    if opened.isolation_reason:
        facts["isolation_reason"] = opened.isolation_reason
    if opened.network is not None:
        facts["network"] = opened.network
    if opened.gaps:
        facts["gaps"] = list(opened.gaps)
    if opened.commands:
        facts["commands"] = [cut_line(command, MAX_COMMAND_CHARS) for command in opened.commands]
    if opened.state == "preparing":
        facts["next"] = _again(opened)
    return facts


def _opened_text(opened: Opened) -> str:
    made = "new" if opened.created else f"revision {opened.revision}"
    files = count(opened.files, "file")
    if opened.state == "preparing":
        stands = f"{opened.phase.value}, {opened.percent:.0f} %"
        return f"Workspace {opened.name} ({made}, {files}) is being prepared: {stands}. {_again(opened)}"
    tools = ", ".join(f"{name} {version}".strip() for name, version in opened.toolchains.items())
    commands = "\n".join(f"  {cut_line(command, MAX_COMMAND_CHARS)}" for command in opened.commands)
    return paragraphs(
        f"Workspace {opened.name} is ready ({made}, {files}).",
        _isolation_text(opened) if opened.isolation else "",
        f"Not isolated: {'; '.join(opened.gaps)}." if opened.gaps else "",
        f"Tools inside: {tools}." if tools else "",
        f"Commands that made what is not in its files (repeat what you need):\n{commands}" if commands else "",
    )


def _isolation_text(opened: Opened) -> str:
    since = f", since {opened.isolation_reason}" if opened.isolation_reason else ""
    return f"Isolation: {opened.isolation}{since}; network: {opened.network or 'unknown'}."


def _again(opened: Opened) -> str:
    return f'The work goes on; open_workspace(name="{opened.name}") joins it.'


def _summary_line(summary: Summary) -> str:
    return (
        f"{summary.name}: {summary.state}, revision {summary.revision}, {count(summary.files, 'file')}, "
        f"{size(summary.size)}, last used {moment(summary.last_used)}"
    )


_STRING: Json = {"type": "string"}
_INTEGER: Json = {"type": "integer"}
_BOOLEAN: Json = {"type": "boolean"}
_STRINGS: Json = {"type": "array", "items": _STRING}

TOOLS = (
    ToolSpec(
        name="open_workspace",
        title="Open workspace",
        description="Open a workspace or make a new one, empty or from git. Call it again while it is preparing.",
        arguments=(NAME, GIT_URL, BRANCH, COMMIT, DEPTH, IMAGE, SNAPSHOT, CPU, MEMORY, DISK, PUBLIC),
        run=open_workspace,
        idempotent=True,
        open_world=True,
        output={
            "name": _STRING,
            "created": _BOOLEAN,
            "state": _STRING,
            "phase": _STRING,
            "percent": _INTEGER,
            "isolation": _STRING,
            "isolation_reason": _STRING,
            "network": _STRING,
            "gaps": _STRINGS,
            "revision": _INTEGER,
            "files": _INTEGER,
            "toolchains": {"type": "object"},
            "commands": _STRINGS,
            "next": _STRING,
        },
        required_output=("name", "created", "state", "phase", "percent", "revision", "files", "toolchains"),
    ),
    ToolSpec(
        name="list_workspaces",
        title="List workspaces",
        description="List the user's workspaces.",
        arguments=(),
        run=list_workspaces,
        read_only=True,
        output={"workspaces": {"type": "array", "items": {"type": "object"}}, "total": _INTEGER},
        required_output=("workspaces", "total"),
    ),
    ToolSpec(
        name="delete_workspace",
        title="Delete workspace",
        description="Delete a workspace with its files and history. The user is asked first.",
        arguments=(OLD_NAME, CONFIRM),
        run=delete_workspace,
        destructive=True,
        closed=True,
        output={
            "name": _STRING,
            "deleted": _BOOLEAN,
            "message": _STRING,
            "undelete": _STRING,
            "days": _INTEGER,
        },
        required_output=("name", "deleted", "message"),
    ),
)
