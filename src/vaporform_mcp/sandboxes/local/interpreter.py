"""The Python that runs the supervisor, and how little of the host has to be shown for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local.bubblewrap import Bind
from vaporform_mcp.sandboxes.supervised import inside

__all__ = ["Interpreter", "interpreter"]

_INSIDE = "/.vf"
_PREFIX = f"{_INSIDE}/py"
_IN_PLACE = ("/usr/", "/opt/", "/nix/store/", "/gnu/store/")
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PACKAGES = ("site-packages", "dist-packages")

# What the executable and the one module with a library of its own (ctypes) are linked with, where not with the
# system's. By name, not by what this process has loaded, since a sandbox is told from another by its binds.
_LIBRARIES = (f"lib{_VERSION}*.so.*", "libffi.so.*")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that runs the supervisor: what of the host must be shown for it, and how it is called inside."""

    binds: Sequence[Bind]
    path: str
    environment: Mapping[str, str]

    def command(self, listen: int, config: int) -> list[str]:
        program = (
            f"import sys; sys.path.insert(0, '{_INSIDE}'); from inside.supervisor import main; main({listen}, {config})"
        )
        return [self.path, "-I", "-S", "-B", "-c", program]


def interpreter(home: Path | None) -> Interpreter:
    """The server's own interpreter, without its packages. `home`: the user's, which must not become visible.

    Of an interpreter that every sandbox does not see anyway, only the executable, the standard library and its
    libraries are shown: what else is in its prefix may be anything, where that is ~/.local.

    Raises:
        SandboxUnavailable: it has no standard library in a folder of its own.
    """
    package = str(Path(inside.__file__ or "").parent)
    prefix = os.path.realpath(sys.base_prefix)
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    relative = os.path.relpath(executable, prefix)
    if relative.startswith("../"):
        relative = f"bin/{_VERSION}"
    shown = [Bind(package, f"{_INSIDE}/inside")]
    if f"{prefix}/".startswith(_IN_PLACE):
        return Interpreter(shown, f"{prefix}/{relative}", {})
    shown += [Bind(executable, f"{_PREFIX}/{relative}"), *_standard_library(home, cover=package)]
    libraries = list(_libraries(Path(prefix)))
    environment = {"LD_LIBRARY_PATH": f"{_PREFIX}/lib"} if libraries else {}
    return Interpreter([*shown, *libraries], f"{_PREFIX}/{relative}", environment)


def _standard_library(home: Path | None, *, cover: str) -> Iterator[Bind]:
    """Its folder, at the same place below the prefix, with `cover` shown where packages are installed into it."""
    named = Path(os.__file__).parent
    source = Path(os.path.realpath(named))
    holds_home = home is not None and Path(os.path.realpath(home)).is_relative_to(source)
    if holds_home or not named.is_relative_to(sys.base_prefix) or not (source / "os.py").is_file():
        raise SandboxUnavailable(
            "the Python that runs this server cannot be shown in a sandbox",
            hint="Run the server with a Python installed in a folder of its own (by uv, pyenv or the system).",
        )
    target = f"{_PREFIX}/{named.relative_to(sys.base_prefix)}"
    yield Bind(str(source), target)
    for name in _PACKAGES:
        if (source / name).is_dir() and not (source / name).is_symlink():
            yield Bind(cover, f"{target}/{name}")


def _libraries(prefix: Path) -> Iterator[Bind]:
    """Each by every name that the linker may know it by, all in one folder."""
    for folder in dict.fromkeys(("lib", sys.platlibdir)):
        for pattern in _LIBRARIES:
            for path in sorted((prefix / folder).glob(pattern)):
                yield Bind(os.path.realpath(path), f"{_PREFIX}/lib/{path.name}")
