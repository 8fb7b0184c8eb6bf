"""One folder of the tree, as the detectors see it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace

from vaporform_mcp.techstack.selection import parent
from vaporform_mcp.techstack.tables import Table, parse_json, parse_toml

__all__ = ["Project", "argument", "first_port", "not_an_option", "port"]

MAX_TEXT_CHARS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """`paths` and `contents` are the whole tree's; names given to the methods are relative to `directory`.

    `suffixes` counts the files below `directory` by their suffix in lower case (".ts"). `parsed` keeps the manifests
    that were parsed, for all the folders of one tree: many ask for the one at the root.
    """

    directory: str
    paths: Set[str]
    contents: Mapping[str, str]
    suffixes: Mapping[str, int]
    parsed: dict[str, Table] = field(default_factory=dict[str, Table])

    def path(self, name: str) -> str:
        """The path from the workspace's root."""
        return f"{self.directory}/{name}" if self.directory else name

    def has(self, *names: str) -> bool:
        """Whether any of the files is there."""
        return any(self.path(name) in self.paths for name in names)

    def first(self, *names: str) -> str | None:
        """The first of `names` that is there, as it was given."""
        return next((name for name in names if self.path(name) in self.paths), None)

    def text(self, name: str) -> str:
        """The beginning of a file's content; "" where it is not at hand."""
        path = self.path(name)
        return self.contents.get(path, "")[:MAX_TEXT_CHARS] if path in self.paths else ""

    def json(self, name: str) -> Table:
        return self._parsed(name, parse_json)

    def toml(self, name: str) -> Table:
        return self._parsed(name, parse_toml)

    def read_names(self) -> Iterator[str]:
        """The names, from here, of the files below whose content is at hand, in no order."""
        prefix = f"{self.directory}/" if self.directory else ""
        return (path[len(prefix) :] for path in self.contents if path.startswith(prefix) and path in self.paths)

    def below(self, name: str) -> Project:
        """The folder `name` in this one."""
        return self._at(self.path(name))

    def above(self) -> Iterator[Project]:
        """The folders that hold this one, up to the root."""
        directory = self.directory
        while directory:
            directory = parent(directory)
            yield self._at(directory)

    def upward(self) -> Iterator[Project]:
        """This folder, then those above: a lock file may lie at the root of a repository of many packages."""
        yield self
        yield from self.above()

    def _at(self, directory: str) -> Project:
        return replace(self, directory=directory)

    def _parsed(self, name: str, parse: Callable[[str], Table]) -> Table:
        path = self.path(name)
        if path not in self.parsed:
            self.parsed[path] = parse(self.text(name))
        return self.parsed[path]


def argument(path: str) -> str:
    """`path` as one word of a shell line, never taken for an option: names of files are not to be trusted."""
    return shlex.quote(not_an_option(path))


def not_an_option(path: str) -> str:
    return f"./{path}" if path.startswith("-") else path


def port(digits: str | None) -> int | None:
    number = int(digits) if digits and digits.isascii() and digits.isdigit() and len(digits) <= 5 else 0
    return number if 0 < number < 65_536 else None


def first_port(text: str, *patterns: re.Pattern[str]) -> int | None:
    """What the first pattern that finds a port in `text` finds."""
    for pattern in patterns:
        for found in pattern.finditer(text):
            if number := port(found[1]):
                return number
    return None
