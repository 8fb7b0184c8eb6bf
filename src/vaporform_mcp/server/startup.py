"""From a process that has loaded nothing to a served connection, as fast as its imports allow."""

from __future__ import annotations

import gc
from collections.abc import Callable

from vaporform_mcp.server.serving import Serving

__all__ = ["run_stdio"]


def run_stdio(prepare: Callable[[], Serving]) -> int:
    """Serve one client over standard input and output until it leaves or a signal ends the process.

    `prepare` is called first and should do what else has to be loaded, reading the settings for example. What it
    raises is raised. Answers with the exit status: 0 after a clean end.
    """
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
