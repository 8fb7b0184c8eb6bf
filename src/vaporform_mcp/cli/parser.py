"""The arguments of every command, and what its help says."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from vaporform_mcp import __version__

__all__ = ["build_parser"]

_Add = Callable[..., argparse.ArgumentParser]
_MOST = 1_000_000

_ABOUT = """\
Without a command this is the MCP server over stdio: a client starts it, and
speaks with it over stdin and stdout. The commands are for people:

  demo        the main job, from an empty workspace to a served application
  doctor      examine this machine, and say how to mend what is wrong
  ps          list the sandboxes that run on this machine
  stop        end sandboxes; their workspaces and files stay
  workspaces  list the workspaces, also those in the trash
  undelete    take a workspace out of the trash
  snapshots   save a workspace's machine under a name; list and delete those
  push        bring a folder of yours into a workspace
  pull        bring a workspace's files into a folder of yours
  history     the revisions of a workspace, or of one of its files
  diff        what changed between two revisions, as a patch
  restore     make its files as they were at a revision
  export      write a workspace's files into a folder, or it and its history into a file
  import      make a workspace of such a file
  verify      read everything that the store keeps, and name what is damaged
  copy        bring workspaces from one store into the other
  prune       drop old revisions, and what nothing needs any more

`vaporform-mcp COMMAND --help` says more. Settings are environment variables
that begin with VAPORFORM_."""


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
    ps = commands.add_parser("ps", description="List the sandboxes that run, on this machine or at Daytona.")
    ps.add_argument("--json", action="store_true", help="for programs")
    stop = commands.add_parser("stop", description="End sandboxes; their workspaces and files stay.")
    which = stop.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "name", nargs="?", metavar="NAME", help="the workspace whose sandbox is ended, or the sandbox itself"
    )
    which.add_argument("--all", action="store_true", help="end every sandbox")
    workspaces = commands.add_parser("workspaces", description="List the workspaces, also those in the trash.")
    workspaces.add_argument("--json", action="store_true", help="for programs")
    undelete = commands.add_parser("undelete", description="Take a workspace out of the trash.")
    undelete.add_argument("name", metavar="NAME")
    _add_snapshots(commands.add_parser)
    _add_push(commands.add_parser)
    _add_pull(commands.add_parser)
    _add_history(commands.add_parser)
    _add_diff(commands.add_parser)
    _add_restore(commands.add_parser)
    _add_export(commands.add_parser)
    _add_import(commands.add_parser)
    _add_copy(commands.add_parser)
    _add_verify(commands.add_parser)
    _add_prune(commands.add_parser)
    return parser


def _add_snapshots(add: _Add) -> None:
    snapshots = add(
        "snapshots",
        description="Machines saved under names, of which workspaces are opened, where sandboxes run at Daytona. "
        "Without an action they are listed.",
    )
    snapshots.add_argument("--json", action="store_true", help="the list for programs")
    actions = snapshots.add_subparsers(dest="action", metavar="[ACTION]")
    save = actions.add_parser(
        "save", description="Save a workspace's machine: its files and all that is installed, without its processes."
    )
    save.add_argument("workspace", metavar="WORKSPACE")
    save.add_argument("name", metavar="NAME", help="how the snapshot is called")
    delete = actions.add_parser("delete", description="Delete a snapshot, whatever it was saved from.")
    delete.add_argument("name", metavar="NAME", help="exactly as it is listed")
    delete.add_argument("--yes", action="store_true", help="do not ask first")


def _add_push(add: _Add) -> None:
    push = add(
        "push",
        description="Bring a folder's files, committed or not, into a workspace, which is made where there is none. "
        "What .gitignore, .git/info/exclude, .vaporformignore and the settings keep out stays out. What is newer in "
        "the workspace is kept and named, with exit status 1, so is what could not be read or mirrored.",
    )
    push.add_argument("folder", metavar="FOLDER")
    push.add_argument("name", nargs="?", metavar="NAME", help="the workspace; by default named as the folder")
    push.add_argument("--with-ignored", action="store_true", help="also what git alone would ignore")
    _add_exchange(push)


def _add_pull(add: _Add) -> None:
    pull = add(
        "pull",
        description="Bring a workspace's files, as they are in its sandbox now, into a folder, which is made where "
        "there is none. What is newer in the folder is kept and named, with exit status 1, so is what could "
        "not be had.",
    )
    pull.add_argument("name", metavar="NAME", help="the workspace")
    pull.add_argument("folder", metavar="FOLDER")
    _add_exchange(pull)


def _add_exchange(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--overwrite", action="store_true", help="replace also what is newer there, or not known to be older"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done, by what is mirrored now; nothing is made or changed",
    )
    command.add_argument("--json", action="store_true", help="for programs")


def _add_history(add: _Add) -> None:
    history = add("history", description="List the revisions of a workspace, newest first, and what made each.")
    history.add_argument("name", metavar="WORKSPACE")
    history.add_argument("path", nargs="?", metavar="PATH", help="of this file or folder alone")
    history.add_argument("--limit", type=_count, default=30, metavar="COUNT", help="at most so many (%(default)s)")
    history.add_argument("--json", action="store_true", help="for programs")


def _add_diff(add: _Add) -> None:
    diff = add(
        "diff", description="Show what changed between two revisions, as a patch that `git apply` takes for text files."
    )
    diff.add_argument("name", metavar="WORKSPACE")
    diff.add_argument("start", nargs="?", metavar="FROM", help="revision or checkpoint; by default the one before TO")
    diff.add_argument("end", nargs="?", metavar="TO", help="revision or checkpoint; by default the newest")
    diff.add_argument("--path", metavar="PATH", help="of this file or folder alone")
    diff.add_argument("--json", action="store_true", help="for programs: which files, and their digests")


def _add_restore(add: _Add) -> None:
    restore = add(
        "restore",
        description="Make a workspace's files as they were. What is there now becomes a revision first, and so does "
        "the restore, so that it can be undone.",
    )
    restore.add_argument("name", metavar="WORKSPACE")
    restore.add_argument("to", metavar="REV", help="revision or checkpoint")
    restore.add_argument("path", nargs="?", metavar="PATH", help="this file or folder alone")
    restore.add_argument("--yes", action="store_true", help="do not ask before all files are restored")
    restore.add_argument("--json", action="store_true", help="for programs")


def _add_export(add: _Add) -> None:
    export = add("export", description="Write a workspace's files, as the store has them.")
    export.add_argument("name", metavar="WORKSPACE")
    target = export.add_mutually_exclusive_group(required=True)
    target.add_argument("destination", nargs="?", metavar="DEST", help="a folder, new or empty")
    target.add_argument("--bundle", metavar="FILE", help="instead, one file with the files and their whole history")
    export.add_argument("--at", metavar="REV", help="as they were at this revision or checkpoint; now by default")
    export.add_argument(
        "--overwrite",
        action="store_true",
        help="into a folder that has files: those of the same names are replaced; a FILE that is there too",
    )
    export.add_argument("--json", action="store_true", help="for programs")


def _add_import(add: _Add) -> None:
    imported = add(
        "import",
        description="Make a workspace of a file that `export --bundle` made. It is checked whole first, and nothing is "
        "taken over where anything is wrong.",
    )
    imported.add_argument("file", metavar="FILE")
    imported.add_argument("name", nargs="?", metavar="NAME", help="how it is called here; as it was by default")
    imported.add_argument("--workspace", metavar="ONE", help="which, of a file that has several")
    imported.add_argument("--json", action="store_true", help="for programs")


def _add_copy(add: _Add) -> None:
    copy = add(
        "copy",
        description="Bring workspaces with their histories from the other store into this one. They stay where they "
        "are; repeating it finishes what was begun, and brings what is new.",
    )
    copy.add_argument("names", nargs="*", metavar="WORKSPACE", help="these; by default all but those in the trash")
    copy.add_argument("--to", required=True, choices=("sqlite", "mongo"))
    copy.add_argument("--json", action="store_true", help="for programs")


def _add_verify(add: _Add) -> None:
    verify = add(
        "verify",
        description="Read and hash everything that the store keeps. Exit status 1 where something is missing or "
        "damaged; the files that it is about are named.",
    )
    verify.add_argument("name", nargs="?", metavar="WORKSPACE", help="of this one alone")
    verify.add_argument("--json", action="store_true", help="for programs")


def _add_prune(add: _Add) -> None:
    prune = add(
        "prune",
        description="Drop revisions that neither option keeps, then contents that nothing names. The newest revision "
        "and checkpoints always stay. Without either option no revision is dropped.",
    )
    prune.add_argument("name", nargs="?", metavar="WORKSPACE", help="revisions of this one alone")
    prune.add_argument("--keep-days", type=_amount, metavar="DAYS", help="keep revisions of the last so many days")
    prune.add_argument("--keep-last", type=_count, metavar="COUNT", help="keep the newest so many revisions")
    prune.add_argument(
        "--grace-hours",
        type=_amount,
        default=24.0,
        metavar="HOURS",
        help="leave contents that were put within so many hours (%(default)g)",
    )
    prune.add_argument("--dry-run", action="store_true", help="say what would go, and leave it")
    prune.add_argument("--json", action="store_true", help="for programs")


def _amount(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"{raw!r} is no number from 0 to {_MOST:,}")
    return value


def _count(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw) <= _MOST:
        raise argparse.ArgumentTypeError(f"{raw!r} is no whole number from 1 to {_MOST:,}")
    return int(raw)
