"""`vaporform-mcp` alone: the MCP server over stdio."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from vaporform_mcp.cli.statuses import USAGE
from vaporform_mcp.errors import InvalidArgument, SandboxUnavailable

if TYPE_CHECKING:
    from vaporform_mcp.server import Serving

__all__ = ["by_hand", "configure_logging", "serve"]

_BY_HAND = """\
This is the MCP server of vaporform-mcp {version}, waiting for a client on stdin. An MCP client starts it by itself;
most are configured with a block like this one:

{block}

By hand: `vaporform-mcp demo` shows what it does, `vaporform-mcp doctor` examines this machine, `vaporform-mcp --help`
lists the rest. Ctrl-C ends this.
"""
_BLOCK = """\
  {
    "mcpServers": {
      "vaporform": { "command": "vaporform-mcp" }
    }
  }"""


def serve() -> int:
    """Serve until the client closes stdin or a signal comes; answers with the exit status."""
    try:
        _check_platform()
        from vaporform_mcp.server import run_stdio

        return run_stdio(_prepare)
    except SandboxUnavailable as error:
        sys.stderr.write(f"vaporform-mcp cannot start: {error.message}. {error.hint}\n")
        return USAGE
    except InvalidArgument as error:
        sys.stderr.write(f"vaporform-mcp cannot start. {error.hint}\n{error.message}\n")
        return USAGE


def _check_platform() -> None:
    """On Windows not even the transport is to be had. Elsewhere the server starts, and a call says what is missing."""
    if sys.platform == "win32":
        from vaporform_mcp.platforms import check_platform

        check_platform()


def _prepare() -> Serving:
    # Loaded here, where loading is quickest: no search for garbage interrupts it.
    from vaporform_mcp import app
    from vaporform_mcp.settings import load

    settings = load()
    configure_logging(settings.log_level)
    if sys.stdin.isatty():
        sys.stderr.write(by_hand())
    return app.serving(settings)


def by_hand() -> str:
    """What a person reads who started the server in a terminal."""
    from vaporform_mcp import __version__

    return _BY_HAND.format(version=__version__, block=_BLOCK)


def configure_logging(level: str) -> None:
    """Log to stderr: over stdio, stdout is the protocol."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
