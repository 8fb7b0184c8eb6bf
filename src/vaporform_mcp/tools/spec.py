"""What a tool is: its name and words for a client, and what calling it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vaporform_mcp.tools.arguments import Argument, Arguments, Json
from vaporform_mcp.tools.context import Context

__all__ = ["MAX_RESULT_CHARS", "ImageContent", "ToolResult", "ToolSpec"]

MAX_RESULT_CHARS = 40_000
"""What a result's text, or its structured content as JSON, may have at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """An image as clients accept it: `mime_type` is image/png, image/jpeg, image/gif or image/webp."""

    data: bytes
    mime_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """`text` is for the model, `facts` for scripts.

    The facts that a tool's output schema names are its structured content, and say everything that `text` says, since
    some clients show the model nothing else. The workspace's name is added to both by whoever sends the result.
    """

    text: str
    facts: Mapping[str, Json]
    images: Sequence[ImageContent] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool. `output` has the properties of its structured content, None where its answer is text to read.

    `destructive` says that it may remove or overwrite what somebody wants; `closed`, that it refuses arguments that it
    does not know, since without one it would do far more than was meant. `idempotent` says that calling it again with
    the same arguments changes nothing more; `open_world`, that it can reach beyond the workspace.
    """

    name: str
    title: str
    description: str
    arguments: Sequence[Argument[object]]
    run: Callable[[Context, Arguments], Awaitable[ToolResult]]
    read_only: bool = False
    destructive: bool = False
    closed: bool = False
    idempotent: bool = False
    open_world: bool = False
    output: Mapping[str, Json] | None = None
    required_output: Sequence[str] = field(default=())
