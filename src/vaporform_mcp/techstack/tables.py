"""Reading untrusted manifests: whatever is malformed is merely absent."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import TypeGuard

__all__ = ["Table", "as_strings", "as_table", "parse_json", "parse_toml", "string_at", "table_at"]

Table = Mapping[str, object]

# Each alternative also ends at the end of the text: one that failed there would be tried again from every later
# position, at a cost that grows with the square of the length.
_STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\])*(?:"|\\?\Z))|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_STRING_OR_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*(?:"|\\?\Z))|,(?=\s*[}\]])', re.DOTALL)


_MAX_DOTS = 100
"""In a line of TOML. The parser's time and memory grow with the square of the parts of a dotted key."""


def parse_json(text: str) -> Table:
    """The object that `text` is, comments and trailing commas allowed; empty where it is none."""
    text = text.removeprefix("\ufeff")
    for candidate in (lambda: text, lambda: _without_comments(text)):
        try:
            return as_table(json.loads(candidate()))
        except (ValueError, RecursionError):
            continue
    return {}


def parse_toml(text: str) -> Table:
    """The table that `text` is; empty where it is none, or has keys of more parts than any project's."""
    if any(line.count(".") > _MAX_DOTS for line in text.splitlines()):
        return {}
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return {}


def _without_comments(text: str) -> str:
    return _STRING_OR_TRAILING_COMMA.sub(_kept, _STRING_OR_COMMENT.sub(_kept, text))


def _kept(found: re.Match[str]) -> str:
    return found[1] or ""


def as_table(value: object) -> Table:
    return value if _is_table(value) else {}


def as_strings(value: object) -> Sequence[str]:
    """The strings of a list, or of a single string."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if _is_list(value) else []


def table_at(table: Table, *keys: str) -> Table:
    for key in keys:
        table = as_table(table.get(key))
    return table


def string_at(table: Table, *keys: str) -> str:
    """The string at the end of `keys`; "" where there is none."""
    value = table_at(table, *keys[:-1]).get(keys[-1])
    return value if isinstance(value, str) else ""


def _is_table(value: object) -> TypeGuard[Table]:
    return isinstance(value, dict)  # the keys of both formats are always strings


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)
