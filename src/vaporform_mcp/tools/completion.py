"""The tool that finishes: everything synced under a checkpoint, and what was made, running where it can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaporform_mcp.tools.arguments import Arguments, Json, optional_text, text
from vaporform_mcp.tools.context import Context
from vaporform_mcp.tools.output import clean, cut_line, fit
from vaporform_mcp.tools.spec import ToolResult, ToolSpec
from vaporform_mcp.tools.text import count, paragraphs, preview_facts, preview_line

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.techstack import TechStack
    from vaporform_mcp.workspace.results import Completed, DevServer, PreviewStatus

__all__ = ["TOOLS", "completed_result"]

MAX_ERROR_CHARS = 4_000
MAX_COMMAND_CHARS = 300
MAX_WARNING_CHARS = 400

RESULT = text("result", "What was done, for the user", aliases=("summary", "message"))
COMMAND = optional_text("command", "Starts a demo, such as npm run dev")


async def attempt_completion(context: Context, arguments: Arguments) -> ToolResult:
    workspace = await context.workspace()
    completed = await workspace.complete(command=arguments[COMMAND], wait_s=context.remaining_s())
    return completed_result(completed, workspace.name)


def completed_result(completed: Completed, name: str) -> ToolResult:
    fetch = f"vaporform-mcp pull {name} ./{name}"
    text = paragraphs(_text(completed), f"The files for the user's own disk: {fetch}")
    return ToolResult(text=text, facts={**_facts(completed), "fetch": fetch})


def _facts(completed: Completed) -> dict[str, Json]:
    previews: list[Json] = [_preview(each) for each in completed.previews]
    facts: dict[str, Json] = {
        "checkpoint": completed.checkpoint,
        "revision": completed.mirror.revision,
        "files_total": completed.files_total,
        "files_synced": completed.files_synced,
        "mirrored": completed.mirrored,
        "tech_stack": {
            "language": completed.tech_stack.language,
            "framework": completed.tech_stack.framework,
            "package_manager": completed.tech_stack.package_manager,
            "entry": completed.tech_stack.entry,
        },
        "previews": previews,
        "preview_url": completed.preview_url,
        "dev_server": None if completed.dev_server is None else _dev_server(completed.dev_server),
        "warnings": _warnings(completed),
    }
    if completed.mirror.error is not None:
        facts["mirror_error"] = completed.mirror.error
    return facts


def _text(completed: Completed) -> str:
    files = f"{count(completed.files_total, 'file')} mirrored ({completed.files_synced:,} by this call)"
    first = f"Complete: {files}"
    if not completed.mirrored:
        first = f"Complete, but not all is mirrored: {completed.mirror.error or 'the reason is not known'}; {files}"
    warnings = "\n".join(f"Warning: {warning}" for warning in _warnings(completed))
    return paragraphs(
        f"{first}, checkpoint {completed.checkpoint} at revision {completed.mirror.revision}.",
        _stack_line(completed.tech_stack),
        _dev_server_line(completed.dev_server),
        "\n".join(_preview_line(each) for each in completed.previews),
        f"Show the user: {completed.preview_url}" if completed.preview_url else "",
        warnings,
    )


def _warnings(completed: Completed) -> list[str]:
    return [cut_line(warning, MAX_WARNING_CHARS) for warning in completed.warnings]


def _preview(each: PreviewStatus) -> dict[str, Json]:
    facts = preview_facts(each.preview)
    return facts if each.status is None else {**facts, "status": each.status}


def _preview_line(each: PreviewStatus) -> str:
    answers = "does not answer HTTP yet" if each.status is None else f"answers with HTTP {each.status}"
    return f"{preview_line(each.preview)}, {answers}"


def _dev_server(server: DevServer) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "started": server.started,
        "command": cut_line(server.command, MAX_COMMAND_CHARS),
        "process_id": server.process_id,
    }
    return facts if server.error is None else {**facts, "error": _log_end(server.error)}


def _dev_server_line(server: DevServer | None) -> str:
    if server is None:
        return ""
    process = f" (process {server.process_id})" if server.process_id else ""
    command = cut_line(server.command, MAX_COMMAND_CHARS)
    if server.error is not None:
        return f"The development server did not come up{process}: {command}\n{_log_end(server.error)}"
    return f"Development server {'started' if server.started else 'runs'}: {command}{process}"


def _log_end(error: str) -> str:
    return fit(clean(error), MAX_ERROR_CHARS)


def _stack_line(stack: TechStack) -> str:
    parts = [part for part in (stack.framework, stack.language, stack.package_manager) if part]
    entry = f"; entry {stack.entry}" if stack.entry else ""
    return f"Made with {', '.join(parts)}{entry}." if parts else ""


TOOLS = (
    ToolSpec(
        name="attempt_completion",
        title="Complete",
        description="Finish a task: mirrors all files under a checkpoint, and gives the URL of the running app, "
        "starting it if need be. Build and test before.",
        arguments=(RESULT, COMMAND),
        run=attempt_completion,
        open_world=True,
        output={
            "checkpoint": {"type": "string"},
            "revision": {"type": "integer"},
            "files_total": {"type": "integer"},
            "files_synced": {"type": "integer"},
            "mirrored": {"type": "boolean"},
            "mirror_error": {"type": "string"},
            "tech_stack": {"type": "object"},
            "previews": {"type": "array", "items": {"type": "object"}},
            "preview_url": {"type": ["string", "null"]},
            "dev_server": {"type": ["object", "null"]},
            "fetch": {"type": "string"},
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
        required_output=(
            "checkpoint",
            "files_total",
            "files_synced",
            "mirrored",
            "tech_stack",
            "previews",
            "preview_url",
            "dev_server",
            "fetch",
            "warnings",
        ),
    ),
)
