"""What the command answers its caller with: see `vaporform_mcp.cli`."""

from __future__ import annotations

__all__ = ["DONE", "FAILED", "INTERRUPTED", "USAGE"]

DONE = 0
FAILED = 1
"""A check failed, or something could not be done, or not all of it."""

USAGE = 2
"""It was called wrongly, or the settings are wrong."""

INTERRUPTED = 130
"""Ctrl-C, as shells have it."""
