"""The result of detection, and how much each detector found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Finding", "Rank", "TechStack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TechStack:
    """What a project is made with, in names as people write them ("TypeScript", "Next.js", "pnpm").

    `entry` is the path of its main file or package, from the workspace's root. `dev_command` is the shell line that
    starts its development server, to be run in `directory` ("" is the root); it installs nothing and runs no
    separate build. `dev_port` is the port that the server will very likely listen on. None is what could not be
    told; a project that serves nothing has no `dev_command`.
    """

    language: str | None = None
    framework: str | None = None
    package_manager: str | None = None
    entry: str | None = None
    dev_command: str | None = None
    dev_port: int | None = None
    directory: str = ""


class Rank(IntEnum):
    """How good a candidate for "the application" a finding is."""

    LANGUAGE = 1
    STATIC = 2  # files to serve as they are: less than any program, since most projects hold an index.html
    SERVER = 3
    FRAMEWORK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`delegates` says that the development command starts the projects in folders below."""

    stack: TechStack
    rank: Rank
    delegates: bool = False

    @classmethod
    def of(cls, stack: TechStack, *, delegates: bool = False) -> Finding:
        """The finding whose rank follows from what the stack says."""
        if not stack.dev_command:
            return cls(stack=stack, rank=Rank.LANGUAGE)
        return cls(stack=stack, rank=Rank.FRAMEWORK if stack.framework else Rank.SERVER, delegates=delegates)
