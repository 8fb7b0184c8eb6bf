"""From a process that has loaded nothing to a served connection, as fast as its imports allow."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable

from vaporform_mcp.server.serving import Serving

__all__ = ["run_stdio"]

log = logging.getLogger(__name__)


def run_stdio(prepare: Callable[[], Serving]) -> int:
    """Serve one client over standard input and output until it leaves or a signal ends the process.

    `prepare` is called first and should do what else has to be loaded, reading the settings for example. What it
    raises is raised. Answers with the exit status: 0 after a clean end.
    """
    if sys.stdin is None or sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed at the start
        log.error("standard input or output is closed: a client has to start the server with both")
        return 1
    # Nothing that the imports make is garbage, and looking for some among a hundred thousand objects takes a tenth of
    # the start. Frozen, they are passed over for good.
    gc.disable()
    try:
        serving = prepare()
        import anyio

        from vaporform_mcp.server.stdio import serve_stdio
    finally:
        gc.freeze()
        gc.enable()
    return anyio.run(serve_stdio, serving)
