"""The tool that saves a workspace's machine as a snapshot, lists snapshots, and deletes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.tools.arguments import Arguments, Json, choice, flag, optional_text
from vaporform_mcp.tools.context import Answer, Context
from vaporform_mcp.tools.output import cut_line
from vaporform_mcp.tools.spec import ToolResult, ToolSpec
from vaporform_mcp.tools.text import moment, paragraphs

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.manager.snapshots import ListedSnapshot
    from vaporform_mcp.sandboxes.snapshots import Snapshot

__all__ = ["TOOLS", "listed_result", "saved_result", "snapshot_facts"]

MAX_LISTED = 150
MAX_REASON_CHARS = 300
MIN_WAIT_S = 1.0

ACTION = choice("action", ("list", "save", "delete"), default="list")
NAME = optional_text("name", aliases=("snapshot",))
CONFIRM = flag("confirm", "The user agreed")


async def snapshots(context: Context, arguments: Arguments) -> ToolResult:
    action, name = arguments[ACTION], arguments[NAME]
    shelf = (await context.manager()).snapshots
    if action == "list":
        return listed_result(await shelf.list(context.owner))
    if name is None:
        raise InvalidArgument(
            f"snapshots was not run: to {action} one takes its name", hint=f'Call snapshots(action="{action}", name=…).'
        )
    if action == "delete":
        return await _delete(context, name, confirmed=arguments[CONFIRM])
    context.activity.message = f"saving as {name}"
    saved = await shelf.save(context.owner, context.name, name, wait_s=context.remaining_s())
    return saved_result(saved, context.name)


async def _delete(context: Context, name: str, *, confirmed: bool) -> ToolResult:
    shelf = (await context.manager()).snapshots
    what = f"snapshot {name}, {_origin(await shelf.find(context.owner, name))}"
    answer = await context.ask(f"Delete the {what}? It cannot be had back.")
    if answer is Answer.NOBODY and confirmed:
        answer = Answer.YES
    is_gone = False
    if answer is Answer.YES:
        is_gone = await shelf.delete(name, wait_s=max(MIN_WAIT_S, context.remaining_s()))
    said = _deletion_text(answer, what, name, is_gone=is_gone)
    return ToolResult(
        text=said, facts={"action": "delete", "name": name, "deleted": answer is Answer.YES, "message": said}
    )


def saved_result(saved: Snapshot, workspace: str) -> ToolResult:
    if saved.state == "saving":
        said = (
            f"Workspace {workspace} is being saved as snapshot {saved.name}. The work goes on; "
            f'snapshots(action="save", name="{saved.name}") joins it.'
        )
    else:
        said = (
            f"Saved workspace {workspace} as snapshot {saved.name}: its files and everything that is installed; "
            "processes are not part of it. For a new workspace from it: "
            f'open_workspace(name=…, snapshot="{saved.name}").'
        )
    return ToolResult(
        text=said, facts={"action": "save", "name": saved.name, "state": saved.state.value, "message": said}
    )


def listed_result(found: Sequence[ListedSnapshot]) -> ToolResult:
    shown = found[:MAX_LISTED]
    lines = "\n".join(f"{each.snapshot.name}: {_described(each)}" for each in shown)
    left_out = len(found) - len(shown)
    return ToolResult(
        text=paragraphs(lines, f"[{left_out:,} more of {len(found):,}]" if left_out else "")
        or "There is no snapshot yet.",
        facts={"action": "list", "snapshots": [snapshot_facts(each) for each in shown], "total": len(found)},
    )


def snapshot_facts(each: ListedSnapshot) -> dict[str, Json]:
    snapshot = each.snapshot
    facts: dict[str, Json] = {"name": snapshot.name, "state": snapshot.state.value}
    if snapshot.created_at is not None:
        facts["created"] = moment(snapshot.created_at)
    if snapshot.size_gb is not None:
        facts["size_gb"] = snapshot.size_gb
    if snapshot.is_general:
        facts["general"] = True
    if each.workspace is not None:
        facts["saved_from"] = each.workspace
    if snapshot.reason:
        facts["reason"] = cut_line(snapshot.reason, MAX_REASON_CHARS)
    return facts


def _described(each: ListedSnapshot) -> str:
    snapshot = each.snapshot
    reason = f" ({cut_line(snapshot.reason, MAX_REASON_CHARS)})" if snapshot.reason else ""
    parts = [f"{snapshot.state.value}{reason}", _origin(each)]
    if snapshot.size_gb is not None:
        parts.append(f"{snapshot.size_gb:g} GB")
    if snapshot.created_at is not None:
        parts.append(f"made {moment(snapshot.created_at)}")
    return ", ".join(parts)


def _origin(each: ListedSnapshot) -> str:
    if each.snapshot.is_general:
        return "the provider's own"
    return f"of workspace {each.workspace}" if each.workspace else "of no workspace that is here now"


def _deletion_text(answer: Answer, what: str, name: str, *, is_gone: bool) -> str:
    match answer:
        case Answer.YES:
            return f"Deleted the {what}." if is_gone else f"The {what}, is being removed; its name is free soon."
        case Answer.NO:
            return f"Not deleted: the user declined. The {what}, stays."
        case Answer.SILENCE:
            return f"Not deleted: no answer came from the user. The {what}, stays."
        case Answer.NOBODY:
            return (
                f"Not deleted yet: the {what}. Ask the user; if they agree, call "
                f'snapshots(action="delete", name="{name}", confirm=true).'
            )


_STRING: Json = {"type": "string"}

TOOLS = (
    ToolSpec(
        name="snapshots",
        title="Snapshots",
        description="Save the workspace's whole machine under a name, for open_workspace(snapshot); list, delete.",
        arguments=(ACTION, NAME, CONFIRM),
        run=snapshots,
        destructive=True,
        closed=True,
        open_world=True,
        output={
            "action": _STRING,
            "name": _STRING,
            "state": _STRING,
            "deleted": {"type": "boolean"},
            "message": _STRING,
            "snapshots": {"type": "array", "items": {"type": "object"}},
            "total": {"type": "integer"},
        },
        required_output=("action",),
    ),
)
