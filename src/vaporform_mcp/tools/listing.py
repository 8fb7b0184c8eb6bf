"""Files changed, listed and found, as results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaporform_mcp.tools.arguments import Json
from vaporform_mcp.tools.output import cut_line, within
from vaporform_mcp.tools.spec import ToolResult
from vaporform_mcp.tools.text import count, paragraphs, size, written_line

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.types import WorkspacePath
    from vaporform_mcp.workspace.results import Found, Listed, Listing, Match, Replaced, Written

__all__ = ["found_result", "listing_result", "replaced_result", "written_result"]

MAX_LINE_CHARS = 400
MAX_INVALID = 5
TEXT_LIMIT = 38_000  # of a list's text: the rest of a result's limit is for what is said beside it


def written_result(written: Written) -> ToolResult:
    return ToolResult(
        text=f"{written_line('Wrote', written)}.", facts={**_written_facts(written), "digest": written.digest}
    )


def replaced_result(replaced: Replaced) -> ToolResult:
    made = f"Made {count(replaced.replacements, 'replacement')} in"
    return ToolResult(
        text=paragraphs(f"{written_line(made, replaced.written)}.", replaced.diff),
        facts={**_written_facts(replaced.written), "replacements": replaced.replacements},
    )


def _written_facts(written: Written) -> dict[str, Json]:
    facts: dict[str, Json] = {"path": written.path, "size": written.size, "mirrored": written.mirrored}
    if written.mirror_error is not None:
        facts["mirror_error"] = written.mirror_error
    if written.revision is not None:
        facts["revision"] = written.revision
    return facts


def listing_result(path: WorkspacePath, listing: Listing) -> ToolResult:
    shown = within(listing.entries, TEXT_LIMIT, lambda each: len(_entry_line(each)) + 1)
    lines = map(_entry_line, shown)
    truncated = listing.truncated or len(shown) < len(listing.entries)
    entries: list[Json] = [{"path": each.path, "kind": each.kind.value, "size": each.size} for each in shown]
    return ToolResult(
        text=paragraphs(
            "\n".join(lines) or f"{path or 'The workspace'} is empty.",
            _listing_end(listing, truncated=truncated),
            _invalid_names(listing.invalid),
        ),
        facts={"entries": entries, "truncated": truncated},
    )


def _invalid_names(names: Sequence[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(cut_line(name, 80) for name in names[:MAX_INVALID])
    return f"[{count(len(names), 'name')} that no path can hold, rename with execute_command: {shown}]"


def found_result(found: Found) -> ToolResult:
    groups = _by_file(found.matches)
    blocks: list[str] = []
    shown = 0
    room = TEXT_LIMIT
    for matches in groups:
        block = _file_block(matches)
        if len(block) + 1 > room:
            break
        room -= len(block) + 1
        blocks.append(block)
        shown += len(matches)
    truncated = found.truncated or shown < len(found.matches)
    return ToolResult(
        text=paragraphs(_search_summary(found, shown, len(blocks), truncated=truncated), *blocks),
        facts={"matches": shown, "files": len(blocks), "searched": found.files, "truncated": truncated},
    )


def _entry_line(entry: Listed) -> str:
    match entry.kind.value:
        case "directory":
            return f"{entry.path}/"
        case "file":
            return f"{entry.path}  {size(entry.size)}"
        case "symlink":
            return f"{entry.path}  (symlink)"
        case _:
            return f"{entry.path}  (neither file nor folder)"


def _listing_end(listing: Listing, *, truncated: bool) -> str:
    left_out = ", ".join(f"{path}/" for path in listing.unlisted[:20])
    return paragraphs(
        f"[not looked into: {left_out}]" if left_out else "",
        "[there is more: list a folder below, or search_files]" if truncated else "",
    )


def _search_summary(found: Found, shown: int, files: int, *, truncated: bool) -> str:
    searched = f"{count(found.files, 'file')} searched"
    skipped = f", {found.skipped:,} skipped (binary, too large or unreadable)" if found.skipped else ""
    if not found.matches:
        return f"No match ({searched}{skipped})."
    more = ", and more that are not shown: narrow it with path or file_pattern" if truncated else ""
    matches = "1 match" if shown == 1 else f"{shown:,} matches"
    return f"{matches} in {count(files, 'file')} ({searched}{skipped}){more}."


def _by_file(matches: Sequence[Match]) -> list[list[Match]]:
    groups: dict[str, list[Match]] = {}
    for match in matches:
        groups.setdefault(match.path, []).append(match)
    return list(groups.values())


def _file_block(matches: Sequence[Match]) -> str:
    """A file's matches with the lines around them, each line once: `12:` is a match, `13-` is not."""
    lines: dict[int, str] = {}
    for match in matches:
        around = {match.line - len(match.before) + index: line for index, line in enumerate(match.before)}
        around |= {match.line + 1 + index: line for index, line in enumerate(match.after)}
        for number, line in around.items():
            lines.setdefault(number, f"{number}- {cut_line(line, MAX_LINE_CHARS)}")
    for match in matches:
        lines[match.line] = f"{match.line}: {cut_line(match.text, MAX_LINE_CHARS)}"
    return "\n".join([matches[0].path, *_with_gaps(lines)])


def _with_gaps(lines: dict[int, str]) -> list[str]:
    shown: list[str] = []
    previous = 0
    for number in sorted(lines):
        if previous and number > previous + 1:
            shown.append("--")
        shown.append(lines[number])
        previous = number
    return shown
