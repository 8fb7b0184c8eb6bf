"""A file as `read_file` shows it: text by lines, an image as an image, anything else in a statement or as base64."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio.to_thread

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.mime import is_text
from vaporform_mcp.tools.arguments import Json
from vaporform_mcp.tools.images import IsNoImage, Picture, is_image, picture
from vaporform_mcp.tools.spec import ToolResult
from vaporform_mcp.tools.text import count, paragraphs

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.workspace.results import FileText

__all__ = ["shown_file"]

MAX_TEXT_CHARS = 38_000
MAX_BASE64_BYTES = 24 * 1024
IN_A_THREAD_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Lines of a file. `next_line` is where to go on, None at the end; `cut_chars` were left out of the last line."""

    text: str
    first: int
    last: int
    total: int
    next_line: int | None
    cut_chars: int = 0


async def shown_file(file: FileText, start: int | None, end: int | None) -> ToolResult:
    """The result of reading `file`, lines `start` to `end` of it.

    Raises:
        InvalidArgument: it has no line `start`.
    """
    facts: dict[str, Json] = {
        "path": file.path,
        "size": len(file.content),
        "mime_type": file.mime_type,
        "encoding": "utf-8",
        "source": file.source,
        "truncated": False,
    }
    if file.revision is not None:
        facts["revision"] = file.revision
    why_not = ""
    if is_image(file.mime_type):
        try:
            return _image(file, await picture(file.content), facts)
        except IsNoImage as error:
            why_not = f" It is not shown as an image: {error}."
    if not is_text(file.content):
        return _binary(file, why_not, facts)
    if len(file.content) > IN_A_THREAD_BYTES:
        part = await anyio.to_thread.run_sync(_part, file, start, end)
    else:
        part = _part(file, start, end)
    if part.next_line is not None or part.cut_chars:
        facts["truncated"] = True
    if part.next_line is not None:
        facts["next_line"] = part.next_line
    return ToolResult(text=_joined(_source(file), part.text or "(the file is empty)", _how_to_go_on(part)), facts=facts)


def _source(file: FileText) -> str:
    if file.source == "sandbox":
        return ""
    if file.removed:
        return (
            f"[{file.path} is gone from the sandbox. This is the mirror's copy, of revision {file.revision}; "
            "to have the file back, restore it to that revision, or write it again with write_to_file.]"
        )
    return f"[The sandbox could not be reached. This is the mirror's copy, of revision {file.revision}.]"


def _part(file: FileText, start: int | None, end: int | None) -> _Part:
    whole = file.content.decode()
    if start is None and end is None and len(whole) <= MAX_TEXT_CHARS:
        return _Part(text=whole, first=1, last=0, total=0, next_line=None)
    lines = whole.split("\n")
    if lines[-1] == "":
        lines.pop()
    first = start or 1
    if first > max(len(lines), 1):
        raise InvalidArgument(
            f"{file.path} has {count(len(lines), 'line')}, so there is no line {first}",
            hint=f"Read it with a start_line from 1 to {max(len(lines), 1)}.",
        )
    last = min(end or len(lines), len(lines))
    taken, room = 0, MAX_TEXT_CHARS
    for line in lines[first - 1 : last]:
        room -= len(line) + 1
        if room < 0:
            break
        taken += 1
    total = len(lines)
    if not taken and first <= last:
        line = lines[first - 1]
        after = first + 1 if first < last else None
        cut = len(line) - MAX_TEXT_CHARS
        return _Part(
            text=line[:MAX_TEXT_CHARS], first=first, last=first, total=total, next_line=after, cut_chars=max(cut, 0)
        )
    reached = first + taken - 1
    ending = "\n" if reached < total or whole.endswith("\n") else ""
    body = "\n".join(lines[first - 1 : reached]) + ending
    return _Part(text=body, first=first, last=reached, total=total, next_line=reached + 1 if reached < last else None)


def _how_to_go_on(part: _Part) -> str:
    said: list[str] = []
    if part.cut_chars:
        said.append(
            f"[line {part.first} goes on for {part.cut_chars:,} characters: see them with execute_command, "
            f"for example sed -n {part.first}p FILE | cut -c {MAX_TEXT_CHARS + 1}-]"
        )
    if part.next_line is not None:
        said.append(f"[lines {part.first}-{part.last} of {part.total}: go on with start_line={part.next_line}]")
    return "\n".join(said)


def _joined(before: str, body: str, after: str) -> str:
    """The body untouched: where it is the whole file, the text is exactly the file."""
    before = f"{before}\n" if before else ""
    if not after:
        return f"{before}{body}"
    return f"{before}{body}{'' if body.endswith(chr(10)) else chr(10)}{after}"


def _image(file: FileText, shown: Picture, facts: dict[str, Json]) -> ToolResult:
    scaled = "" if shown.shown == (shown.width, shown.height) else f", shown as {shown.shown[0]} x {shown.shown[1]}"
    line = f"{file.path}: {file.mime_type}, {shown.width} x {shown.height}, {count(len(file.content), 'byte')}{scaled}"
    return ToolResult(
        text=paragraphs(_source(file), line), facts={**facts, "encoding": "base64"}, images=(shown.content,)
    )


def _binary(file: FileText, why_not: str, facts: dict[str, Json]) -> ToolResult:
    statement = f"{file.path} is not UTF-8 text: {file.mime_type}, {count(len(file.content), 'byte')}.{why_not}"
    if len(file.content) <= MAX_BASE64_BYTES:
        body = f"{statement} As base64:\n{base64.b64encode(file.content).decode()}"
        return ToolResult(text=paragraphs(_source(file), body), facts={**facts, "encoding": "base64"})
    hint = "Look at it with execute_command, for example: file, xxd FILE | head, strings, unzip -l, pdftotext, sqlite3."
    return ToolResult(
        text=paragraphs(_source(file), statement, hint), facts={**facts, "encoding": "base64", "truncated": True}
    )
