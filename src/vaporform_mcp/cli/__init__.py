"""The command `vaporform-mcp`: its arguments and exit statuses.

0: done. 1: a check failed, or something could not be done. 2: it was called wrongly, or the settings are wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from vaporform_mcp import __version__

__all__ = ["build_parser", "main"]

FAILED = 1
USAGE = 2

_ABOUT = """\
Without a command this is the MCP server over stdio: a client starts it, and
speaks with it over stdin and stdout. The commands are for people:

  demo        the main job, from an empty workspace to a served application
  doctor      examine this machine, and say how to mend what is wrong
  ps          list the sandboxes that run on this machine
  stop        end sandboxes; their workspaces and files stay
  workspaces  list the workspaces, also those in the trash
  undelete    take a workspace out of the trash

`vaporform-mcp COMMAND --help` says more. Settings are environment variables
that begin with VAPORFORM_."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (that of this process where `arguments` is None); answers with the exit status."""
    asked = build_parser().parse_args(arguments)
    # Here, and by what is asked for: the server has to answer as fast as it can, and --version needs nothing.
    if asked.command is None:
        from vaporform_mcp.cli.serving import serve

        return serve()
    from vaporform_mcp.cli.commands import run

    return run(asked)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vaporform-mcp",
        usage="vaporform-mcp [-h] [--version] [COMMAND ...]",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vaporform-mcp {__version__}")
    commands = parser.add_subparsers(dest="command", prog="vaporform-mcp", metavar="[COMMAND]", help=argparse.SUPPRESS)
    demo = commands.add_parser("demo", description="The main job, from an empty workspace to a served application.")
    demo.add_argument(
        "--keep", action="store_true", help="make it among your own workspaces, and leave the preview up until Ctrl-C"
    )
    demo.add_argument(
        "--from", dest="source", metavar="PATH|GIT_URL", help="use an existing project instead of the sample"
    )
    doctor = commands.add_parser("doctor", description="Examine this machine, and say how to mend what is wrong.")
    doctor.add_argument("--online", action="store_true", help="also see whether commands reach the internet")
    doctor.add_argument("--json", action="store_true", help="for programs, and for bug reports")
    ps = commands.add_parser("ps", description="List the sandboxes that run on this machine.")
    ps.add_argument("--json", action="store_true", help="for programs")
    stop = commands.add_parser("stop", description="End sandboxes; their workspaces and files stay.")
    which = stop.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="the workspace whose sandbox is ended")
    which.add_argument("--all", action="store_true", help="end every sandbox")
    workspaces = commands.add_parser("workspaces", description="List the workspaces, also those in the trash.")
    workspaces.add_argument("--json", action="store_true", help="for programs")
    undelete = commands.add_parser("undelete", description="Take a workspace out of the trash.")
    undelete.add_argument("name", metavar="NAME")
    return parser


if __name__ == "__main__":
    sys.exit(main())
