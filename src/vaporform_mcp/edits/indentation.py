"""Giving a replacement the indentation that the file has where its author wrote another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["reindented"]


def reindented(replace: Sequence[str], *, search: Sequence[str], there: Sequence[str]) -> Sequence[str]:
    """`replace`, moved as the lines of `search` are moved in the file's lines `there`.

    As it is, where the lines are not moved, or not all in one way.
    """
    moved: dict[str, str] = {}
    for wanted, line in zip(search, there, strict=True):
        if wanted.strip() and wanted.strip() == line.strip():
            indent = _indent(line)
            if moved.setdefault(_indent(wanted), indent) != indent:
                return replace
    if all(wanted == indent for wanted, indent in moved.items()):
        return replace
    tab = _spaces_for_a_tab(moved)
    return [_moved(_indent(line), moved, tab) + line.lstrip(" \t") if line.strip() else line for line in replace]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _moved(indent: str, moved: Mapping[str, str], tab: str) -> str:
    deeper_than = [wanted for wanted in moved if indent.startswith(wanted)]
    if deeper_than:
        nearest = max(deeper_than, key=len)
        rest = indent[len(nearest) :]
        return moved[nearest] + (rest.replace(tab, "\t") if tab else rest)
    for wanted in sorted(moved, key=len):
        less = wanted[len(indent) :].replace(tab, "\t") if tab else wanted[len(indent) :]
        if wanted.startswith(indent) and moved[wanted].endswith(less):
            return moved[wanted].removesuffix(less)
    return indent


def _spaces_for_a_tab(moved: Mapping[str, str]) -> str:
    """How many spaces the author wrote for each tab of the file; "" where the file is not indented with tabs."""
    for wanted, indent in moved.items():
        if wanted.strip(" ") == "" and indent and indent.strip("\t") == "" and len(wanted) % len(indent) == 0:
            return wanted[: len(wanted) // len(indent)]
    return ""
