"""What git would ignore in a folder of this machine, whether or not it is a repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pathspec import GitIgnoreSpec

from vaporform_mcp.exclusions import faulty_lines

__all__ = ["EXCLUDE_FILE", "GitIgnores"]

EXCLUDE_FILE = ".git/info/exclude"
"""Rules of one clone's own, from its root, which every `.gitignore` goes before."""

Read = Callable[[str], Sequence[str]]
"""The lines of a file of the folder; none where it is not there."""


class GitIgnores:
    """Asked of paths whose folders are not ignored themselves: as for git, nothing below one that is comes back."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rules: dict[str, GitIgnoreSpec] = {}
        self._exclude = _spec(read(EXCLUDE_FILE))

    def is_ignored(self, path: str, *, is_folder: bool) -> bool:
        """The nearest folder whose rules say anything of the path has the last word."""
        asked = f"{path}/" if is_folder else path
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            verdict = self._rules_of(folder).check_file(asked[len(folder) :].lstrip("/")).include
            if verdict is not None:
                return verdict
        return bool(self._exclude.check_file(asked).include)

    def _rules_of(self, folder: str) -> GitIgnoreSpec:
        if folder not in self._rules:
            self._rules[folder] = _spec(self._read(f"{folder}/.gitignore".lstrip("/")))
        return self._rules[folder]


def _spec(lines: Sequence[str]) -> GitIgnoreSpec:
    """As git does, what is no rule is passed over."""
    faulty = set(faulty_lines(lines))
    return GitIgnoreSpec.from_lines(line for line in lines if line not in faulty)
