"""The command `vaporform-mcp`: its arguments and exit statuses.

0: done. 1: a check failed, or something could not be done, or not all of it. 2: it was called wrongly, or the settings
are wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vaporform_mcp.cli.parser import build_parser

__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (that of this process where `arguments` is None); answers with the exit status."""
    asked = build_parser().parse_args(arguments)
    # Here, and by what is asked for: the server has to answer as fast as it can, and --version needs nothing.
    if asked.command is None:
        from vaporform_mcp.cli.serving import serve

        return serve()
    from vaporform_mcp.cli.commands import run

    return run(asked)


if __name__ == "__main__":
    sys.exit(main())
