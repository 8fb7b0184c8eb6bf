"""The one smart layer: sandbox first, then the mirror; fallback, sync, self-heal, processes and completion."""

from vaporform_mcp.workspace.core import Workspace

__all__ = ["Workspace"]
