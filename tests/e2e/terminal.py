"""The program as a person runs it in a terminal, in an environment whose folders are all the test's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.stdio_client import PROGRAM

__all__ = ["LIMIT_S", "run_program", "surroundings"]

LIMIT_S = 200.0


def surroundings(folder: Path, **settings: str) -> dict[str, str]:
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "VAPORFORM_DATA_DIR": str(folder / "data"),
        **settings,
    }


def run_program(
    environment: Mapping[str, str], *arguments: str, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """What it printed, on both of its outputs. `before` are words that start it."""
    return subprocess.run(
        [*before, *PROGRAM, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
