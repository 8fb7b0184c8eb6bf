"""Which folders of a user are toolchains and nothing else.

Known are those in the place that a manager keeps its versions at, and those that whoever made them unpacked or built
by hand, where the layout is that of one toolchain and nothing lies beside it. A program's name tells nothing: whoever
has a terraform in ~/work/bin has not said that ~/work is one.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KnownTrees", "Tree"]

log = logging.getLogger(__name__)

_DEEPEST = 8  # folders between a program and the tree it is of


@dataclass(frozen=True, slots=True)
class Tree:
    """`name` is its manager's, or its program's; `root` has no link in it."""

    name: str
    root: Path


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a manager has its versions: `pattern` below what `variable` names, or else below one of `usual` at home."""

    name: str
    variable: str
    usual: Sequence[str]
    pattern: str


_PLACES = (
    _Place("nvm", "NVM_DIR", (".nvm", ".config/nvm"), "versions/node/*"),
    _Place("nvm", "", (".local/share/nvm",), "v*"),
    _Place("fnm", "FNM_DIR", (".local/share/fnm", ".fnm"), "node-versions/*/installation"),
    _Place("nodebrew", "NODEBREW_ROOT", (".nodebrew",), "node/*"),
    _Place("pnpm", "PNPM_HOME", (".local/share/pnpm",), "nodejs/*"),
    _Place("volta", "VOLTA_HOME", (".volta",), "tools/image/*/*"),
    _Place("pyenv", "PYENV_ROOT", (".pyenv",), "versions/*"),
    _Place("rbenv", "RBENV_ROOT", (".rbenv",), "versions/*"),
    _Place("nodenv", "NODENV_ROOT", (".nodenv",), "versions/*"),
    _Place("goenv", "GOENV_ROOT", (".goenv",), "versions/*"),
    _Place("plenv", "PLENV_ROOT", (".plenv",), "versions/*"),
    _Place("phpenv", "PHPENV_ROOT", (".phpenv",), "versions/*"),
    _Place("asdf", "ASDF_DATA_DIR", (".asdf",), "installs/*/*"),
    _Place("mise", "MISE_DATA_DIR", (".local/share/mise",), "installs/*/*"),
    _Place("proto", "PROTO_HOME", (".proto",), "tools/*/*"),
    _Place("uv", "UV_PYTHON_INSTALL_DIR", (".local/share/uv/python",), "*py*-[23].*"),
    _Place("rye", "RYE_HOME", (".rye",), "py/*"),
    _Place("hatch", "", (".local/share/hatch/pythons",), "*/python"),
    _Place("rustup", "RUSTUP_HOME", (".rustup",), "toolchains/*"),
    _Place("gvm", "GVM_ROOT", (".gvm",), "gos/*"),
    _Place("sdkman", "SDKMAN_DIR", (".sdkman",), "candidates/*/*"),
    _Place("java", "", (".jdks", ".jabba/jdk"), "*"),
    _Place("rvm", "rvm_path", (".rvm",), "rubies/*"),
    _Place("ruby", "", (".rubies",), "*"),
    _Place("perlbrew", "PERLBREW_ROOT", ("perl5/perlbrew",), "perls/*"),
    _Place("ghcup", "", (".ghcup",), "ghc/*"),
    _Place("juliaup", "", (".julia/juliaup",), "julia-*"),
    _Place("swiftly", "", (".local/share/swiftly",), "toolchains/*/usr"),
)

# These have programs of one file too, and no folder around them.
_WITHOUT_BIN = ("asdf", "mise", "proto")


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a toolchain has, each of `holds` by a pattern, and the names of all that may lie beside it, by folder.

    `strict`: its `bin` has nothing but programs.
    """

    name: str
    holds: Sequence[str]
    only: Mapping[str, str]
    strict: bool = True

    def fits(self, tree: Path) -> bool:
        if not all(_has(tree, pattern) for pattern in self.holds):
            return False
        if self.strict and not _has_only(tree / "bin", _is_program):
            return False
        return all(_has_only(tree / folder, _is_called(names)) for folder, names in self.only.items())


_DOCUMENTS = r"LICENSE(_\w+)?(\.\w+)?|COPYRIGHT|NOTICE|COPYING|README(\.\w+)?|CHANGELOG(\.\w+)?"
_MANUALS = r"man|doc|info|terminfo|systemtap|applications|icons"

_LAYOUTS = (
    _Layout(
        "node",
        ("bin/node", "include/node", "lib/node_modules"),
        {"": rf"bin|include|lib|share|{_DOCUMENTS}", "include": "node", "lib": "node_modules", "share": _MANUALS},
    ),
    _Layout("npm", ("bin", "lib/node_modules"), {"": "bin|lib|share", "lib": "node_modules", "share": _MANUALS}),
    _Layout(
        "python3",
        ("bin/python3*", "lib/python3.*/os.py", "include/python3.*"),
        {
            "": rf"bin|include|lib|lib64|share|BUILD|{_DOCUMENTS}",
            "include": r"python3\.\d+t?|X11",
            "lib": r"libpython3.*|python3\.\d+t?|pkgconfig|(lib)?(tcl|tk|itcl|thread)[\w.-]*",
            "share": rf"{_MANUALS}|jupyter",
        },
    ),
    _Layout(
        "go",
        ("bin/go", "src/runtime", "VERSION"),
        {
            "": r"api|bin|doc|lib|misc|pkg|src|test|VERSION|PATENTS|AUTHORS|CONTRIBUTORS|CONTRIBUTING\.md|SECURITY\.md"
            rf"|codereview\.cfg|go\.env|favicon\.ico|robots\.txt|\.gitattributes|\.github|{_DOCUMENTS}",
            "pkg": r"include|tool|obj|bootstrap|linux_\w+",
        },
    ),
    _Layout(
        "java",
        ("bin/java", "release", "lib"),
        {
            "": r"bin|conf|demo|docs|include|jmods|jre|legal|lib|man|release|sample|src\.zip|version\.txt"
            rf"|ASSEMBLY_EXCEPTION|CLASSPATH_EXCEPTION_NOTE|THIRD[\w-]*(\.txt)?|DISCLAIMER|readme\.txt|Welcome\.html"
            rf"|commitId\.txt|javafx-src\.zip|languages|GRAALVM-README\.md|license-information[\w.-]*|{_DOCUMENTS}"
        },
    ),
    _Layout(
        "conda",
        ("bin", "conda-meta/history"),
        {
            "": r"bin|sbin|lib|lib32|lib64|libexec|include|share|etc|ssl|man|doc|docs|info|var|fonts|cmake|sysroot|nvvm"
            r"|targets|mkspecs|plugins|qml|translations|resources|phrasebooks|python-scripts|compiler_compat|shell"
            r"|conda-meta|condabin|envs|pkgs|locks|_conda|\.condarc|\.nonadmin|\.messages\.txt|install\.log"
            rf"|\w+-conda[\w.-]*|{_DOCUMENTS}"
        },
        strict=False,  # it has scripts that a shell reads
    ),
)

# Where a tree can hold what is its user's alone: an environment of a project, a password of a package index.
_PERSONAL = (
    *("pyvenv.cfg", ".git", ".env", ".envrc", ".netrc", ".npmrc", ".pypirc", "pip.conf", "credentials*", "etc/npmrc"),
    *("conda-meta/state", "etc/conda/activate.d/env_vars.sh"),
    *("envs/*/conda-meta/state", "envs/*/etc/conda/activate.d/env_vars.sh", "envs/*/pip.conf"),
)


class KnownTrees:
    """Toolchains of the user whose home and environment these are."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        data = environment.get("XDG_DATA_HOME", "")
        self._places = [
            (place, os.path.realpath(root))
            for place in _PLACES
            for root in _roots(place, home, environment, data if data.startswith("/") else "")
        ]
        # Where Go puts what it downloads, and whoever follows its custom their own programs, too.
        workspaces = environment.get("GOPATH") or f"{home}/go"
        self._workspaces = [Path(os.path.realpath(one)) for one in workspaces.split(":") if one.startswith("/")]
        self._names: dict[Path, str | None] = {}  # of what was looked at

    def tree_of(self, path: Path) -> Tree | None:
        """The toolchain that `path` is of, links followed; None where it lies in none that is known."""
        real = Path(os.path.realpath(path))
        for folder in (real, *real.parents)[:_DEEPEST]:
            if folder not in self._names:
                self._names[folder] = self._name_of(folder)
            if name := self._names[folder]:
                return None if _is_personal(folder) else Tree(name, folder)
        return None

    def _name_of(self, folder: Path) -> str | None:
        for place, root in self._places:
            if _is_below(str(folder), root, place.pattern) and _has_programs(folder, place.name):
                return place.name
        if folder in self._workspaces:
            return None
        return next((layout.name for layout in _LAYOUTS if layout.fits(folder)), None)


def _roots(place: _Place, home: Path, environment: Mapping[str, str], data: str) -> Iterator[str]:
    named = environment.get(place.variable, "") if place.variable else ""
    if named.startswith("/"):
        yield named
    for usual in place.usual:
        yield f"{home}/{usual}"
        if data and usual.startswith(".local/share/"):
            yield f"{data}/{usual.removeprefix('.local/share/')}"


def _is_below(folder: str, root: str, pattern: str) -> bool:
    if not folder.startswith(f"{root}/"):
        return False
    names, patterns = folder[len(root) + 1 :].split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def _has_programs(folder: Path, manager: str) -> bool:
    if (folder / "bin").is_dir():
        return True
    beside = folder.iterdir() if manager in _WITHOUT_BIN and folder.is_dir() else ()
    return any(path.is_file() and os.access(path, os.X_OK) for path in beside)


def _is_personal(folder: Path) -> bool:
    for pattern in _PERSONAL:
        if _has(folder, pattern):
            log.info("the toolchain %s was passed over, since it has %s in it", folder.name, pattern)
            return True
    return False


def _has(folder: Path, pattern: str) -> bool:
    if "*" in pattern:
        return next(folder.glob(pattern), None) is not None
    return os.path.exists(f"{folder}/{pattern}")  # noqa: PTH110  # many are looked for at every start of a server


def _has_only(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> bool:
    """Whether all that is in it is so; of what cannot be read that cannot be said."""
    try:
        with os.scandir(folder) as entries:
            return all(map(wanted, entries))
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _is_called(names: str) -> Callable[[os.DirEntry[str]], bool]:
    return lambda entry: re.fullmatch(names, entry.name) is not None


def _is_program(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return False
    return entry.is_symlink() or (entry.is_file() and bool(entry.stat().st_mode & 0o111))
