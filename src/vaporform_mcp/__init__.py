"""An MCP server that gives an agent a live sandbox whose every file is mirrored to a durable store."""

__all__ = ["__version__"]

# The build reads the version from this line, so that asking for it needs no package metadata.
__version__ = "0.1.0"
