"""The servers that are measured: how each is started, and what each calls the same act."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.client import Client, Json
from benchmarks.samples import BARE, OURS

__all__ = ["ROOT", "Call", "Subject", "bare", "environment", "ours", "temporary_folder"]

ROOT = Path(__file__).resolve().parents[1]

LINGER = {"VAPORFORM_LOCAL__LINGER_S": "0"}
"""A benchmark leaves no sandbox behind; while a server is attached, which is always here, it changes nothing."""


class Call(NamedTuple):
    """A tool call of one server."""

    tool: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A server. `extra` is added to the environment that all have in common; an act that it cannot do is None.

    `data_dir`: where the server keeps its sandboxes; None for those that have none.
    """

    name: str
    version: str
    argv: tuple[str, ...]
    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict[str, str])
    data_dir: Path | None = None
    write: Callable[[str, str], Call] | None = None
    read: Callable[[str], Call] | None = None
    run: Callable[[str], Call] | None = None

    def start(self) -> Client:
        """Start a process of it, and greet it not yet."""
        return Client(
            self.argv, environment={**environment(), **self.extra}, folder=ROOT, log=self.folder / "stderr.log"
        )

    @contextmanager
    def session(self) -> Generator[Client]:
        """A process of it that was greeted and asked for its tools, as every client does first."""
        with self.start() as client:
            client.initialize()
            client.request("tools/list")
            yield client


def environment() -> dict[str, str]:
    """What every server is given: the user's environment, without what changes how a Python or a server of ours runs.

    A developer's shell often has such variables (PYTHONDONTWRITEBYTECODE is one); a client's environment does not.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VAPORFORM_"))}


@contextmanager
def temporary_folder() -> Generator[Path]:
    """A folder on a disk: where /tmp is kept in memory, a write that reaches the disk would look free."""
    chosen = os.environ.get("TMPDIR") or ("/var/tmp" if Path("/var/tmp").is_dir() else None)  # noqa: S108  # made private below
    with tempfile.TemporaryDirectory(prefix="vaporform-bench-", dir=chosen, ignore_cleanup_errors=True) as path:
        yield Path(path)


def ours(folder: Path) -> Subject:
    """This project's server, with its data in `folder`."""
    data_dir = folder / "data"
    return Subject(
        name=OURS,
        version=importlib.metadata.version("vaporform-mcp"),
        argv=(sys.executable, "-m", "vaporform_mcp"),
        folder=folder,
        extra={"VAPORFORM_DATA_DIR": str(data_dir), **LINGER},
        data_dir=data_dir,
        write=lambda path, content: Call("write_to_file", {"path": path, "content": content}),
        read=lambda path: Call("read_file", {"path": path}),
        run=lambda command: Call("execute_command", {"command": command}),
    )


def bare(folder: Path) -> Subject:
    """The server of `servers/bare.py`, with its files in `folder`."""
    return Subject(
        name=BARE,
        version=f"mcp {importlib.metadata.version('mcp')}",
        argv=(sys.executable, "-m", "benchmarks.servers.bare", str(folder)),
        folder=folder,
        write=lambda path, content: Call("write_file", {"path": path, "content": content}),
        read=lambda path: Call("read_file", {"path": path}),
        run=lambda command: Call("run_command", {"command": command}),
    )
