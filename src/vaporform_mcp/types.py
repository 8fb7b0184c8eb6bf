"""The records that the layers hand each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NewType

from vaporform_mcp.errors import InvalidArgument, InvalidPath

__all__ = [
    "ROOT",
    "TRASH_DAYS",
    "Change",
    "Digest",
    "Entry",
    "EntryKind",
    "Head",
    "Phase",
    "Resources",
    "Revision",
    "Spec",
    "Stat",
    "TreeCount",
    "WorkspaceName",
    "WorkspacePath",
    "WorkspaceRecord",
    "parse_name",
    "parse_path",
]

WorkspacePath = NewType("WorkspacePath", str)
"""POSIX, relative to the workspace's root, no empty, `.` or `..` part; the root itself is ``ROOT``."""

ROOT = WorkspacePath("")

Digest = NewType("Digest", str)
"""64 lowercase hexadecimal digits: SHA-256 of the whole content (of a symlink: of its target)."""

WorkspaceName = NewType("WorkspaceName", str)

TRASH_DAYS = 7
"""How long a deleted workspace can be taken out of the trash again."""

MAX_PART_BYTES = 255
MAX_PATH_BYTES = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[a-z0-9](-?[a-z0-9]){0,39}")
_MOUNT = "/workspace"


def parse_path(raw: str, *, allow_root: bool = False) -> WorkspacePath:
    """Make a `WorkspacePath` from what a caller wrote; the only way to make one from outside.

    `.` and empty parts, a trailing slash and a leading ``/workspace/`` are dropped.

    Raises:
        InvalidPath: another absolute path, `..`, a control character, text that is not valid Unicode, a part over
            255 bytes, a path over 4,096 bytes, or the root where a file is meant.
    """
    shown = raw if len(raw) <= 200 else raw[:200] + "…"
    try:
        size = len(raw.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidPath("the path is not valid Unicode text", hint="Send the path as UTF-8.") from None
    if _CONTROL.search(raw):
        raise InvalidPath(
            f"the path {shown!r} has a control character in it",
            hint="Use a path without NUL, newline or other control characters.",
        )
    if size > MAX_PATH_BYTES:
        raise InvalidPath(f"the path is {size} bytes long; the limit is {MAX_PATH_BYTES}", hint="Use a shorter path.")
    relative = raw
    if raw == _MOUNT or raw.startswith(_MOUNT + "/"):
        relative = raw[len(_MOUNT) :].lstrip("/")
    elif raw.startswith("/"):
        raise InvalidPath(
            f"the path {shown!r} is outside the workspace",
            hint="Files live at /workspace in the sandbox: give a path relative to it, such as src/app.py.",
        )
    parts = [part for part in relative.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise InvalidPath(
            f"the path {shown!r} has '..' in it", hint="Give the path relative to /workspace without '..'."
        )
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise InvalidPath(
            f"a part of the path {shown!r} is over {MAX_PART_BYTES} bytes", hint="Use shorter file and folder names."
        )
    if not parts and not allow_root:
        said = "the path is empty" if not raw.strip() else f"the path {shown!r} is the workspace itself"
        raise InvalidPath(said, hint="Name a file in the workspace, such as src/app.py.")
    return WorkspacePath("/".join(parts))


def parse_name(raw: str) -> WorkspaceName:
    """Check a workspace's name.

    Raises:
        InvalidArgument: it is not 1 to 40 of a-z, 0-9 and single hyphens between them.
    """
    if not _NAME.fullmatch(raw) or len(raw) > 40:
        raise InvalidArgument(
            f"{raw[:80]!r} is not a workspace name",
            hint="Use 1 to 40 lowercase letters, digits and single hyphens, such as todo-app.",
        )
    return WorkspaceName(raw)


class EntryKind(StrEnum):
    FILE = "file"
    SYMLINK = "symlink"
    DIRECTORY = "directory"  # only in scans and listings: trees hold files and symlinks, as in git
    OTHER = "other"  # devices, sockets and FIFOs: listed, never read or mirrored


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What the sandbox's file system says of a path. Times are nanoseconds by the sandbox's clock.

    `mode` is the permission bits only (0o7777).
    """

    kind: EntryKind
    size: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of a tree: a file, or a symlink whose content is its target. `size` is in bytes."""

    kind: EntryKind
    mode: int
    size: int
    digest: Digest
    mime_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a revision does to one path: the entry it now has, or None where the path is removed."""

    path: WorkspacePath
    entry: Entry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeCount:
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest revision of a workspace; number 0 and epoch 0 before the first."""

    number: int
    epoch: int

    @property
    def sandbox_epoch(self) -> int:
        """The epoch of the current sandbox, which is there before the first revision tells of it."""
        return max(self.epoch, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One committed set of changes. `time` is seconds since the Unix epoch, by the committing server's clock.

    `id` is chosen by the writer and makes repeating an append harmless.
    """

    number: int
    id: str
    epoch: int
    time: float
    made_by: str
    label: str | None
    added: int
    changed: int
    removed: int


Network = Literal["internet", "none", "host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """CPUs, and memory and disk in GiB; None leaves it to the provider."""

    cpu: int | None = None
    memory_gb: int | None = None
    disk_gb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How a workspace's sandbox is made. What a provider does not know it refuses, naming the field."""

    provider: str
    image: str | None = None
    snapshot: str | None = None
    public: bool | None = None
    network: Network | None = None
    git_url: str | None = None
    git_branch: str | None = None
    git_commit: str | None = None
    git_depth: int | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    resources: Resources | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRecord:
    """A workspace as the store keeps it.

    `version` counts updates and makes them compare-and-set. `previews` remembers the public port of each sandbox
    port. `commands` are the latest commands that succeeded outside the mirror's reach (installs), oldest first, and
    `dev_command` is what served last: both tell what to repeat when a sandbox is rebuilt. `isolation` is that of its
    latest sandbox. `deleted_at` is set while the workspace lies in the trash. Times are seconds since the Unix epoch.
    """

    id: str
    owner: str
    name: WorkspaceName
    spec: Spec
    created_at: float
    last_used_at: float
    sandbox_id: str | None = None
    imported: bool = True
    previews: Mapping[int, int] = field(default_factory=dict[int, int])
    commands: Sequence[str] = ()
    dev_command: str | None = None
    isolation: str | None = None
    deleted_at: float | None = None
    version: int = 0


class Phase(StrEnum):
    """Where the opening of a workspace stands."""

    CREATING = "creating"
    WAITING = "waiting"
    IMPORTING = "importing"
    RESTORING = "restoring"
    READY = "ready"
