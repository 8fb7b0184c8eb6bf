"""Where the real programs lie behind the shims of version managers.

A shim asks its manager, at every call, which version is meant; inside a sandbox there is no manager to ask, so the
answer for the user's own default is found here. Nothing is run for it: only the managers' files are read.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

__all__ = ["behind"]

_LIKE_PYENV = ("pyenv", "rbenv", "nodenv", "goenv", "jenv", "plenv", "phpenv")
_SHORT = 65_536  # bytes of a manager's own settings


def behind(folder: Path, home: Path, environment: Mapping[str, str]) -> tuple[str, list[Path]] | None:
    """Of a folder on the PATH that holds shims: the manager's name and the roots of the versions meant, best first.

    None where the folder holds none.
    """
    if folder.name == "shims" and (folder.parent / "versions").is_dir():
        name = folder.parent.name.removeprefix(".")
        name = name if name in _LIKE_PYENV else "pyenv"
        return name, list(_versions(folder.parent, environment.get(f"{name.upper()}_VERSION", "")))
    if folder.name == "shims" and (folder.parent / "installs").is_dir():
        name = "asdf" if "asdf" in folder.parent.name else "mise"
        return name, list(_installs(folder.parent / "installs", home, environment))
    if folder.name == "bin" and (folder.parent / "tools" / "image").is_dir():
        return "volta", list(_volta(folder.parent / "tools"))
    if (folder / "rustup").exists():
        return "rustup", list(_rustup(home, environment))
    return None


def _versions(root: Path, asked: str) -> Iterator[Path]:
    """pyenv and those made after it. `asked`: what the environment says, in place of the manager's own file."""
    for name in asked.split(":") if asked else _text(root / "version").split():
        if found := _version(root / "versions", name):
            yield found


def _installs(installs: Path, home: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """asdf and mise: a folder for each tool, and in it one for each version."""
    wanted = _tool_versions(home / ".tool-versions") | _mise_tools(home, environment)
    for tool, name in wanted.items():
        if found := _version(installs / tool, name):
            yield found


def _tool_versions(path: Path) -> dict[str, str]:
    rows = [line.split("#")[0].split() for line in _text(path).splitlines()]
    return {row[0]: row[1] for row in rows if len(row) > 1}


def _mise_tools(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    folder = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "mise"
    try:
        tools = tomllib.loads(_text(folder / "config.toml")).get("tools")
    except tomllib.TOMLDecodeError:
        return {}
    found: dict[str, str] = {}
    for tool, chosen in _object(tools).items():
        first = next(iter(cast("list[object]", chosen)), None) if isinstance(chosen, list) else chosen
        name = first if isinstance(first, str) else _object(first).get("version")
        if isinstance(name, str):
            found[tool] = name
    return found


def _volta(tools: Path) -> Iterator[Path]:
    try:
        platform = _object(json.loads(_text(tools / "user" / "platform.json") or "{}"))
    except ValueError:
        return
    node = _object(platform.get("node"))
    for tool, name in {
        "node": node.get("runtime"),
        "npm": node.get("npm"),
        "pnpm": platform.get("pnpm"),
        "yarn": platform.get("yarn"),
    }.items():
        if isinstance(name, str) and (found := _version(tools / "image" / tool, name)):
            yield found


def _rustup(home: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    root = Path(environment.get("RUSTUP_HOME") or home / ".rustup")
    try:
        settings = tomllib.loads(_text(root / "settings.toml"))
    except tomllib.TOMLDecodeError:
        return
    name = environment.get("RUSTUP_TOOLCHAIN") or settings.get("default_toolchain")
    if isinstance(name, str) and (found := _version(root / "toolchains", name)):
        yield found


def _version(folder: Path, name: str) -> Path | None:
    """The version of that name, or the newest of those that it abbreviates."""
    if not re.fullmatch(r"[\w.+-]+", name):
        return None
    if (folder / name).is_dir():
        return folder / name
    try:
        known = [path for path in folder.iterdir() if path.name.startswith((f"{name}.", f"{name}-"))]
    except OSError:
        return None
    if name in {"latest", "lts"} or not known:
        return None
    return max(known, key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)])


def _text(path: Path) -> str:
    try:
        with path.open("rb") as source:
            return source.read(_SHORT).decode(errors="replace")
    except OSError:
        return ""


def _object(value: object) -> Mapping[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
