"""An existing project that the demo is run on: a folder of this machine, or a git repository elsewhere."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.demo.telling import Differs
from vaporform_mcp.errors import VaporformError
from vaporform_mcp.exclusions import PRUNED_FOLDERS
from vaporform_mcp.transfer.gitignores import GitIgnores
from vaporform_mcp.types import WorkspacePath, parse_path

__all__ = ["Folder", "Repository", "SourceFile", "collect", "parse_source"]

MAX_FILES = 5_000
MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_BYTES = 200 * 1024 * 1024

_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file to copy: where it is, and its path in the workspace."""

    file: Path
    path: WorkspacePath
    is_executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """`skipped` counts what is left out though git would not ignore it: links, devices, and what is too large."""

    files: Sequence[SourceFile]
    skipped: int


def parse_source(text: str) -> Repository | Folder:
    """What a person wrote: a URL that git understands, or the path of a folder.

    Raises:
        Differs: it is neither.
    """
    if _URL.match(text):
        return Repository(url=text)
    path = Path(text).expanduser()
    if not path.is_dir():
        raise Differs(f"{text!r} is neither a folder nor the URL of a git repository")
    return Folder(path=path.resolve())


def collect(folder: Path) -> Collected:
    """The files of a folder that git would not ignore, without what package managers and builds make again.

    Raises:
        Differs: there are too many, or none.
    """
    files: list[SourceFile] = []
    skipped = size = 0
    for file in _walk(folder):
        try:
            seen = file.lstat()
            path = parse_path(file.relative_to(folder).as_posix())
        except (OSError, VaporformError):
            skipped += 1
            continue
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > MAX_FILE_BYTES:
            skipped += 1
            continue
        size += seen.st_size
        files.append(SourceFile(file=file, path=path, is_executable=bool(seen.st_mode & 0o100)))
        if len(files) > MAX_FILES or size > MAX_BYTES:
            raise Differs(
                f"the folder has over {MAX_FILES:,} files or {MAX_BYTES >> 20} MiB that git would not ignore: "
                "choose a smaller one, or give the URL of its repository"
            )
    if not files:
        raise Differs("the folder has no file that git would not ignore")
    return Collected(files=files, skipped=skipped)


def _walk(folder: Path) -> Iterator[Path]:
    git = GitIgnores(lambda path: _lines(folder / path))
    for name, folders, names in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(
            each
            for each in folders
            if each not in PRUNED_FOLDERS
            and not git.is_ignored((here / each).relative_to(folder).as_posix(), is_folder=True)
        )
        for each in sorted(names):
            if not git.is_ignored((here / each).relative_to(folder).as_posix(), is_folder=False):
                yield here / each


def _lines(file: Path) -> Sequence[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
