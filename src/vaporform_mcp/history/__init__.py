"""Time travel over any store: points of a history, what differs between two of them, and that as a patch."""

from vaporform_mcp.history.changes import FileChange, Status, changes_between, is_repository, lies_under, near_paths
from vaporform_mcp.history.patches import Excerpt, excerpt, patches
from vaporform_mcp.history.points import BEGINNING, MAX_LABEL_CHARS, Point, find, latest_checkpoint, newest, parse_label
from vaporform_mcp.history.points import before as point_before

__all__ = [
    "BEGINNING",
    "MAX_LABEL_CHARS",
    "Excerpt",
    "FileChange",
    "Point",
    "Status",
    "changes_between",
    "excerpt",
    "find",
    "is_repository",
    "latest_checkpoint",
    "lies_under",
    "near_paths",
    "newest",
    "parse_label",
    "patches",
    "point_before",
]
