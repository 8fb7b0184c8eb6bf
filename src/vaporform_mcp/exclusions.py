"""Which untracked paths stay out of the mirror: what a package manager, build or cache makes again.

Further rules are lines in gitignore syntax (https://git-scm.com/docs/gitignore), which come after the defaults, so that
`!build/` takes one of those back. As in git, what lies below an excluded folder is excluded whatever a later line says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import NamedTuple

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from vaporform_mcp.types import WorkspacePath

__all__ = [
    "IGNORE_FILE",
    "MAX_IGNORE_BYTES",
    "PRUNED_FOLDERS",
    "Exclusions",
    "MirrorRules",
    "faulty_lines",
]

IGNORE_FILE = WorkspacePath(".vaporformignore")
"""In a workspace's root: rules of the project's own."""

MAX_IGNORE_BYTES = 64 * 1024
_FOLDERS_REMEMBERED = 50_000
_ABOVE = "ps_d"
"""The group in the library's expressions that ends a folder; where it is not the path's end, the folder is above."""

PRUNED_FOLDERS = frozenset(
    {
        # version control
        ".git",
        ".hg",
        ".svn",
        # Node
        "node_modules",
        ".next",
        ".nuxt",
        ".svelte-kit",
        ".astro",
        ".turbo",
        ".parcel-cache",
        ".vite",
        ".yarn",
        ".pnpm-store",
        ".npm",
        "bower_components",
        ".angular",
        ".expo",
        ".output",
        # Python
        "__pycache__",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
        ".ipynb_checkpoints",
        "__pypackages__",
        ".eggs",
        ".pixi",
        # the JVM, Rust and .NET
        ".gradle",
        "target",
        "obj",
        # Go, Ruby, PHP, Elixir, Dart and Swift keep some of theirs by these names
        ".bundle",
        "_build",
        ".dart_tool",
        ".build",
        # the common names of what a build makes
        "dist",
        "build",
        "coverage",
        ".cache",
    }
)
"""Folder names that a scan does not descend into. Listed there all the same, so that people see that they exist."""

_FILE_NAMES = frozenset({".DS_Store", "Thumbs.db"})
_FILE_SUFFIXES = (".pyc", ".pyo", ".swp", ".tsbuildinfo")


class _Pattern(NamedTuple):
    regex: re.Pattern[str] | None
    include: bool | None


class Exclusions:
    """The defaults and, after them, `lines` in gitignore syntax. Lines that cannot be read are passed over.

    Never changes, but for what it remembers of folders it was asked about; used from one thread at a time.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._lines = tuple(line for line in lines if _is_rule(line) and not _is_faulty(line))
        self._patterns = [_pattern(line) for line in self._lines]
        self._folders: dict[str, bool] = {"": False}

    def extended(self, lines: Iterable[str]) -> Exclusions:
        """With further lines, which come last and so decide."""
        return Exclusions((*self._lines, *lines))

    @cached_property
    def pruned_names(self) -> frozenset[str]:
        """Names of folders that a scan need not descend into, wherever they lie."""
        added = {name for line in self._lines if (name := _plain_folder(line)) is not None}
        back = [line.rstrip("/").rpartition("/")[2] for line in self._lines if line.startswith("!")]
        back = [each.removeprefix("!") for each in back]
        return frozenset(
            name for name in PRUNED_FOLDERS | added if not any(each == "**" or fnmatchcase(name, each) for each in back)
        )

    def is_excluded(self, path: WorkspacePath) -> bool:
        """Whether a path that is not in the tree stays out of it. One once in the tree is tracked, wherever it lies."""
        folder, _, name = path.rpartition("/")
        if self._is_folder_excluded(folder):
            return True
        ruled = self._ruling(path)
        return (name in _FILE_NAMES or name.endswith(_FILE_SUFFIXES)) if ruled is None else ruled

    def is_excluded_folder(self, folder: WorkspacePath) -> bool:
        """Whether everything below it that is not in the tree stays out of it."""
        return self._is_folder_excluded(folder)

    def _is_folder_excluded(self, folder: str) -> bool:
        known = self._folders.get(folder)
        if known is not None:
            return known
        above, _, name = folder.rpartition("/")
        excluded = self._is_folder_excluded(above)
        if not excluded:
            ruled = self._ruling(f"{folder}/")
            excluded = name in PRUNED_FOLDERS if ruled is None else ruled
        if len(self._folders) >= _FOLDERS_REMEMBERED:
            self._folders = {"": False}
        self._folders[folder] = excluded
        return excluded

    def _ruling(self, path: str) -> bool | None:
        """What the last line says that means this very path, not a folder above it, which was judged before."""
        for expression, excludes in reversed(self._patterns):
            match = None if expression is None else expression.match(path)
            if match is not None and _is_meant(match, path):
                return excludes
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRules:
    """What of every workspace is mirrored: a larger file is reported instead."""

    exclusions: Exclusions = field(default_factory=Exclusions)
    max_file_bytes: int = 1024 * 1024 * 1024


def faulty_lines(lines: Iterable[str]) -> Sequence[str]:
    """Those that are no rule in gitignore syntax."""
    return [line for line in lines if _is_rule(line) and _is_faulty(line)]


def _is_rule(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _is_faulty(line: str) -> bool:
    try:
        _pattern(line)
    except (ValueError, re.error):  # the second of a range such as [z-a]
        return True
    return False


def _pattern(line: str) -> _Pattern:
    pattern = GitIgnoreSpecPattern(line)
    expression: re.Pattern[str] | None = pattern.regex  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # not told
    return _Pattern(expression, pattern.include)


def _is_meant(match: re.Match[str], path: str) -> bool:
    above = match.re.groupindex.get(_ABOVE)
    return above is None or match.group(above) is None or match.start(above) == len(path) - 1


def _plain_folder(line: str) -> str | None:
    """The name that a line excludes wherever a folder has it, if that is all it does to folders."""
    name = line.strip().removesuffix("/")
    return name if name and not set(name) & set("!*?[\\/#") else None
