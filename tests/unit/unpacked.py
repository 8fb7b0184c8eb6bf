"""Toolchains as their makers and managers leave them on a disk, without what is in them; and what is shown of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vaporform_mcp.sandboxes.local.toolchains import Toolchain, discover


def program(path: Path, text: str = "\x7fELF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def link(path: Path, target: Path | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def unpacked_go(root: Path) -> Path:
    """A Go as its makers pack it."""
    program(root / "bin/go")
    (root / "VERSION").write_text("go1.23.1\n")
    for name in ("src/runtime", "pkg/tool", "pkg/include", "lib/time", "api", "doc", "misc", "test"):
        (root / name).mkdir(parents=True)
    return root


def unpacked_node(root: Path) -> Path:
    """A Node as its makers pack it."""
    program(root / "lib/node_modules/npm/bin/npm-cli.js", "#!/usr/bin/env node\n")
    program(root / "bin/node")
    link(root / "bin/npm", "../lib/node_modules/npm/bin/npm-cli.js")
    for name in ("include/node", "share/man"):
        (root / name).mkdir(parents=True)
    for name in ("LICENSE", "README.md", "CHANGELOG.md"):
        (root / name).write_text("")
    return root


def unpacked_python(root: Path) -> Path:
    """A Python as `make install` leaves it in a folder of its own."""
    program(root / "bin/python3.12")
    link(root / "bin/python3", "python3.12")
    for name in ("include/python3.12", "lib/python3.12", "lib/pkgconfig", "share/man"):
        (root / name).mkdir(parents=True)
    (root / "lib/python3.12/os.py").write_text("")
    return root


def unpacked_java(root: Path) -> Path:
    """A JDK as its makers pack it."""
    program(root / "bin/java")
    for name in ("conf", "include", "jmods", "legal", "lib"):
        (root / name).mkdir(parents=True)
    (root / "release").write_text('JAVA_VERSION="21.0.2"\n')
    return root


def conda_environment(root: Path) -> Path:
    program(root / "bin/python3.12")
    for name in ("conda-meta", "etc", "include", "lib", "share", "ssl", "x86_64-conda-linux-gnu"):
        (root / name).mkdir(parents=True)
    (root / "conda-meta/history").write_text("")
    return root


UNPACKED = {
    "go": unpacked_go,
    "node": unpacked_node,
    "python3": unpacked_python,
    "java": unpacked_java,
    "conda": conda_environment,
}


def seen(
    home: Path, *folders: Path | str, adjust: tuple[str, ...] = (), variables: Mapping[str, str] | None = None
) -> list[Toolchain]:
    """What is shown of the user with that home, those folders on the PATH and those other variables."""
    path = ":".join(str(folder) for folder in folders)
    environment = {"HOME": str(home), "PATH": path, **(variables or {})}
    return discover(environment, adjust, private=home / "data")


def sources(found: list[Toolchain]) -> list[str]:
    return [one.bind.source for one in found]
