"""What a model is told about the server before its first call, and the prompt that starts a build."""

from __future__ import annotations

from collections.abc import Collection

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

__all__ = ["BUILD", "MAX_INSTRUCTIONS_CHARS", "build_prompt", "instructions", "prompts"]

MAX_INSTRUCTIONS_CHARS = 1_500
"""Clients cut instructions at 2 KB."""

BUILD = "build"

MAX_GOAL_CHARS = 20_000


_INSTRUCTIONS = """\
You work in a workspace: a Linux sandbox whose files are at /workspace and are copied to a durable mirror. They are \
not on the user's disk, so use only these tools for them, and no other file or shell tool.
- {opening}Without one it is "{workspace}".
- write_to_file gives a file's complete content{edit}. Paths are relative to /workspace.
- Install, test and serve yourself with execute_command. Each command is a new shell: cwd and exports do not persist. \
After {wait} s a command goes on in the background{follow}.
- Start servers with background=true, on any port; the result has a URL at which the user sees it. That URL counts, \
not localhost and the port.
- Nobody is root inside: apt, sudo and docker do not work. npm, pip and uv (in a venv), cargo and go do. Only \
/workspace lasts.
- A lost sandbox is rebuilt from the mirror by your next call. The result then says what did not come back, such as \
node_modules and processes: make it again.
{undo}\
- When all is built and tested, finish with attempt_completion(result)."""


def instructions(tools: Collection[str], *, workspace: str, wait_limit_s: float) -> str:
    """Names only what is offered."""
    opening = (
        "A new project begins with open_workspace(name); then pass that name as `workspace` to every tool. "
        if "open_workspace" in tools
        else "Every tool takes an optional `workspace`. "
    )
    follow = ": follow it with check_process" if "check_process" in tools else ""
    edit = "; replace_in_file edits" if "replace_in_file" in tools else ""
    undo = (
        "- Every change is kept: history lists the revisions, restore(to, path) takes files back to one.\n"
        if {"history", "restore"} <= set(tools)
        else ""
    )
    return _INSTRUCTIONS.format(
        opening=opening, workspace=workspace, edit=edit, wait=f"{wait_limit_s:g}", follow=follow, undo=undo
    )


def prompts() -> ListPromptsResult:
    return ListPromptsResult(
        prompts=[
            Prompt(
                name=BUILD,
                title="Build a program",
                description="Build, test and serve a program in a workspace of its own.",
                arguments=[
                    PromptArgument(name="goal", description="What it should do", required=True),
                    PromptArgument(name="workspace", description="Its workspace's name", required=False),
                ],
            )
        ]
    )


def build_prompt(params: GetPromptRequestParams, tools: Collection[str]) -> GetPromptResult:
    """Raises `MCPError` for another name or without a goal."""
    if params.name != BUILD:
        raise MCPError(code=INVALID_PARAMS, message=f"there is no prompt {params.name[:80]!r}; there is {BUILD!r}")
    arguments = params.arguments or {}
    goal = arguments.get("goal", "").strip()
    if not goal or len(goal) > MAX_GOAL_CHARS:
        raise MCPError(code=INVALID_PARAMS, message=f"goal must be a text of 1 to {MAX_GOAL_CHARS:,} characters")
    name = arguments.get("workspace", "").strip()
    text = f"Build this in a Vaporform workspace:\n\n{goal}\n\n{_steps(tools, name)}"
    return GetPromptResult(messages=[PromptMessage(role="user", content=TextContent(type="text", text=text))])


def _steps(tools: Collection[str], workspace: str) -> str:
    where = f"the workspace {workspace}" if workspace else "a workspace with a short name that fits"
    steps = [
        f"Open {where} with open_workspace and use it in every call." if "open_workspace" in tools else "",
        "Write the files, tests included, with write_to_file.",
        "Install what is needed and run the tests with execute_command. Mend what fails until all pass.",
        "If it serves something, start it with background=true and check that it answers.",
        "Finish with attempt_completion, and tell me the preview's URL.",
    ]
    return "\n".join(f"{number}. {step}" for number, step in enumerate(filter(None, steps), 1))
