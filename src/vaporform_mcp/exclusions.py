"""Which untracked paths stay out of the mirror: what a package manager, build or cache makes again."""

from __future__ import annotations

from vaporform_mcp.types import WorkspacePath

__all__ = ["PRUNED_FOLDERS", "is_excluded"]

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
        # the JVM, Rust and .NET
        ".gradle",
        "target",
        "obj",
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


def is_excluded(path: WorkspacePath) -> bool:
    """Whether a path that is not in the tree stays out of it. A path once in the tree is tracked, wherever it lies."""
    *folders, name = path.split("/")
    return name in _FILE_NAMES or name.endswith(_FILE_SUFFIXES) or not PRUNED_FOLDERS.isdisjoint(folders)
