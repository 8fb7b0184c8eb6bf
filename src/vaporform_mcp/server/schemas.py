"""Tools as `tools/list` describes them, in as few bytes as their schemas take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mcp_types import Tool, ToolAnnotations

from vaporform_mcp.tools.arguments import Argument, Json, optional_text, schema
from vaporform_mcp.tools.spec import ToolSpec

__all__ = ["WORKSPACE", "arguments", "tool"]

WORKSPACE = optional_text("workspace", aliases=("workspace_name",))


def arguments(spec: ToolSpec) -> tuple[Argument[object], ...]:
    """What the tool takes: its own, and which workspace it is about unless one of its own says that."""
    if not spec.arguments or any("workspace" in each.aliases for each in spec.arguments):
        return tuple(spec.arguments)
    return (*spec.arguments, WORKSPACE)


def tool(spec: ToolSpec) -> Tool:
    return Tool(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        input_schema=schema(arguments(spec), closed=spec.closed),
        output_schema=None if spec.output is None else _output(spec.output, spec.required_output),
        annotations=_annotations(spec),
    )


def _annotations(spec: ToolSpec) -> ToolAnnotations:
    # What means nothing for a tool that only reads is left out.
    if spec.read_only:
        return ToolAnnotations(read_only_hint=True, open_world_hint=spec.open_world)
    return ToolAnnotations(
        read_only_hint=False,
        destructive_hint=spec.destructive,
        idempotent_hint=spec.idempotent,
        open_world_hint=spec.open_world,
    )


def _output(properties: Mapping[str, Json], required: Iterable[str]) -> dict[str, Json]:
    common: dict[str, Json] = {
        "workspace": {"type": "string"},
        "notices": {"type": "array", "items": {"type": "string"}},
    }
    return {"type": "object", "properties": {**properties, **common}, "required": [*required, "workspace"]}
