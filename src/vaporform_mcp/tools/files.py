"""The tools that write, read, edit, list and search files."""

from __future__ import annotations

import base64
import binascii

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.tools.arguments import Arguments, Json, choice, flag, optional_text, optional_whole, text
from vaporform_mcp.tools.context import Context
from vaporform_mcp.tools.listing import found_result, listing_result, replaced_result, written_result
from vaporform_mcp.tools.spec import ToolResult, ToolSpec
from vaporform_mcp.types import parse_path

__all__ = ["TOOLS"]

MAX_ENTRIES = 1000
MAX_MATCHES = 300

_PATH_ALIASES = ("file_path", "absolute_path", "filename", "file", "target_file", "relative_path")
_FOLDER_ALIASES = (*_PATH_ALIASES, "directory", "dir", "folder", "dir_path")

PATH = text("path", "Relative to /workspace", aliases=_PATH_ALIASES)
FOLDER = optional_text("path", "Folder; default: all", aliases=_FOLDER_ALIASES)
CONTENT = text("content", "The complete content", aliases=("contents", "file_text", "file_content"))
ENCODING = choice("encoding", ("utf-8", "base64"), default="utf-8")
START_LINE = optional_whole("start_line", "First line, from 1", minimum=1, aliases=("line_start", "start"))
END_LINE = optional_whole("end_line", "Last line, inclusive", minimum=1, aliases=("line_end", "end"))
DIFF = text(
    "diff",
    "One or more blocks, in the order of the file:\n"
    "------- SEARCH\nexact lines to find\n=======\nnew lines\n+++++++ REPLACE",
    aliases=("patch", "blocks"),
)
RECURSIVE = flag("recursive")
REGEX = text("regex", aliases=("pattern", "query"))
FILE_PATTERN = optional_text("file_pattern", "Glob, such as *.ts", aliases=("glob", "include", "file_glob"))


async def write_to_file(context: Context, arguments: Arguments) -> ToolResult:
    path = parse_path(arguments[PATH])
    content = _decoded(arguments[CONTENT], arguments[ENCODING])
    workspace = await context.workspace()
    written = await workspace.write(path, content, made_by="write_to_file")
    return written_result(written)


async def read_file(context: Context, arguments: Arguments) -> ToolResult:
    from vaporform_mcp.tools.reading import shown_file

    path = parse_path(arguments[PATH])
    start, end = arguments[START_LINE], arguments[END_LINE]
    if start and end and end < start:
        raise InvalidArgument(
            f"end_line {end} comes before start_line {start}", hint="Lines count from 1, and end_line is included."
        )
    workspace = await context.workspace()
    return await shown_file(await workspace.read(path), start, end)


async def replace_in_file(context: Context, arguments: Arguments) -> ToolResult:
    path = parse_path(arguments[PATH])
    workspace = await context.workspace()
    replaced = await workspace.replace(path, arguments[DIFF], made_by="replace_in_file")
    return replaced_result(replaced)


async def list_files(context: Context, arguments: Arguments) -> ToolResult:
    path = parse_path(arguments[FOLDER] or "", allow_root=True)
    workspace = await context.workspace()
    listing = await workspace.list(path, recursive=arguments[RECURSIVE], limit=MAX_ENTRIES)
    return listing_result(path, listing)


async def search_files(context: Context, arguments: Arguments) -> ToolResult:
    path = parse_path(arguments[FOLDER] or "", allow_root=True)
    regex = arguments[REGEX]
    if not regex:
        raise InvalidArgument("regex is empty", hint="Give a regular expression to search for.")
    workspace = await context.workspace()
    return found_result(await workspace.search(path, regex, file_pattern=arguments[FILE_PATTERN], limit=MAX_MATCHES))


def _decoded(content: str, encoding: str) -> bytes:
    if encoding == "utf-8":
        return content.encode()
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument(
            "content is not valid base64, so nothing was written",
            hint="Send standard base64 with its padding, or leave encoding out to send text.",
        ) from None


_WRITTEN: dict[str, Json] = {
    "path": {"type": "string"},
    "size": {"type": "integer"},
    "mirrored": {"type": "boolean"},
    "mirror_error": {"type": "string"},
    "revision": {"type": "integer"},
}

TOOLS = (
    ToolSpec(
        name="write_to_file",
        title="Write file",
        description="Create or overwrite a file in the workspace; missing folders are made.",
        arguments=(PATH, CONTENT, ENCODING),
        run=write_to_file,
        destructive=True,
        idempotent=True,
        output=_WRITTEN,
        required_output=("path", "size", "mirrored"),
    ),
    ToolSpec(
        name="read_file",
        title="Read file",
        description="Read a text file or a part of it; images are shown as images.",
        arguments=(PATH, START_LINE, END_LINE),
        run=read_file,
        read_only=True,
    ),
    ToolSpec(
        name="replace_in_file",
        title="Edit file",
        description="Replace parts of a file. Each block changes the first match of its SEARCH; "
        "if one is not found, nothing is changed.",
        arguments=(PATH, DIFF),
        run=replace_in_file,
        destructive=True,
    ),
    ToolSpec(
        name="list_files",
        title="List files",
        description="List a folder.",
        arguments=(FOLDER, RECURSIVE),
        run=list_files,
        read_only=True,
    ),
    ToolSpec(
        name="search_files",
        title="Search files",
        description="Search file contents for a regular expression; answers with lines and their context.",
        arguments=(FOLDER, REGEX, FILE_PATTERN),
        run=search_files,
        read_only=True,
    ),
)
