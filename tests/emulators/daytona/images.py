"""What an image holds: an image's name says which programs there are, and whether it can be had at all."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEFAULT_IMAGE", "NODE", "Image", "find_image", "image_of", "make_programs", "unavailable"]

DEFAULT_IMAGE = "daytonaio/sandbox:latest"
NODE = "/opt/node"
_NODE = {
    "node": "",
    "npm": f"{NODE}/lib/node_modules/npm/bin/npm-cli.js",
    "npx": f"{NODE}/lib/node_modules/npm/bin/npx-cli.js",
}
_SMALL_DISK = 4 * 1024 * 1024
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.MULTILINE | re.IGNORECASE)
_PYTHON = re.compile(r"(python|pip|pydoc|idle|2to3)[0-9.]*(-config)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`failure` is why it cannot be built; `python` whether its commands find one.

    A home of so many `disk_bytes` fills up, and is empty again after a stop.
    """

    name: str
    python: bool = True
    failure: str = ""
    disk_bytes: int | None = None


def image_of(dockerfile: str) -> str:
    found = _FROM.search(dockerfile)
    return found[1] if found else ""


def find_image(name: str) -> Image:
    """`bare…` has no Python or node, `missing…` is in no registry, `broken…` does not build, `small-disk…` is small."""
    short = name.rpartition("/")[2].partition(":")[0].partition("@")[0]
    if not short or short.startswith("missing"):
        return unavailable(name)
    if short.startswith("broken"):
        return Image(name=name, failure="The command '/bin/sh -c make' returned a non-zero code: 2")
    disk_bytes = _SMALL_DISK if short.startswith("small-disk") else None
    return Image(name=name, python=not short.startswith("bare"), disk_bytes=disk_bytes)


def unavailable(name: str) -> Image:
    reason = (
        f"pull access denied for {name or '<none>'}, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )
    return Image(name=name, failure=reason)


def make_programs(folder: Path) -> tuple[Path, Path]:
    """Two folders of links: the programs that an image adds to the system's, and the system's without any Python."""
    added, bare = folder / "added", folder / "bare"
    added.mkdir(parents=True)
    bare.mkdir()
    executable = os.path.realpath(sys.executable)
    for name in ("python3", "python"):
        (added / name).symlink_to(executable)
    for tool, script in _NODE.items():
        (added / tool).write_text(f'#!/bin/sh\nexec {NODE}/bin/node {script} "$@"\n')
        (added / tool).chmod(0o755)
    for entry in Path("/usr/bin").iterdir():
        if not _PYTHON.fullmatch(entry.name):
            (bare / entry.name).symlink_to(f"/.usr-bin/{entry.name}")
    return added, bare
