"""The Model Context Protocol edge. Importing it loads nothing of the protocol's library: `run_stdio` does."""

from vaporform_mcp.server.serving import Serving
from vaporform_mcp.server.startup import run_stdio

__all__ = ["Serving", "run_stdio"]
