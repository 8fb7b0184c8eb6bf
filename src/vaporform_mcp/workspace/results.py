"""What a workspace answers with: the facts behind every tool's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vaporform_mcp.history import Excerpt, FileChange, Point
from vaporform_mcp.sandboxes.base import CommandResult, OutputChunk, Preview, ProcessStatus
from vaporform_mcp.techstack import TechStack
from vaporform_mcp.types import Digest, EntryKind, Phase, Revision, WorkspaceName, WorkspacePath

__all__ = [
    "Checked",
    "Checkpoint",
    "Completed",
    "DevServer",
    "Diff",
    "Executed",
    "FileText",
    "Found",
    "History",
    "Listed",
    "Listing",
    "Match",
    "MirrorState",
    "Opened",
    "PreviewStatus",
    "Replaced",
    "Restored",
    "Summary",
    "Written",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorState:
    """`revision` is the newest in the mirror; `pending` says that the sandbox may hold what it does not.

    `error` tells why the mirror could not be kept, None where it could.
    """

    revision: int
    pending: bool
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """`mirrored`: the bytes are durable in the store, as `revision`; else `mirror_error` says why not yet."""

    path: WorkspacePath
    size: int
    digest: Digest
    mirrored: bool
    mirror_error: str | None
    revision: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """`diff` is a short unified diff of what changed; `notes` tell of places that were not matched to the letter."""

    written: Written
    replacements: int
    diff: str
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText:
    """A file as read. `source` mirror: the sandbox could not give it; `removed`: it is gone from the sandbox.

    `revision` is set where `source` is the mirror: the revision that the content is of.
    """

    path: WorkspacePath
    content: bytes
    mime_type: str
    source: Literal["sandbox", "mirror"]
    revision: int | None
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    path: WorkspacePath
    kind: EntryKind
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """`unlisted` are folders named but not descended into (node_modules and its kind); `invalid` are names that no path
    can hold, escaped."""

    entries: Sequence[Listed]
    unlisted: Sequence[WorkspacePath]
    truncated: bool
    invalid: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """`line` counts from 1. `before` and `after` are the lines around it."""

    path: WorkspacePath
    line: int
    text: str
    before: Sequence[str]
    after: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`files` were searched; `skipped` were not: binary, too large or unreadable."""

    matches: Sequence[Match]
    files: int
    skipped: int
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """`previews` are those of ports that began to listen since the last answer."""

    result: CommandResult
    previews: Sequence[Preview]
    mirror: MirrorState


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One process: how it stands, and its output from the offset asked for."""

    status: ProcessStatus
    output: OutputChunk
    previews: Sequence[Preview]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewStatus:
    """`status` is the HTTP status that the port answered with, None where it did not speak HTTP in time."""

    preview: Preview
    status: int | None

    @property
    def serves(self) -> bool:
        """Whether a server answers there; a gateway that finds none behind it is none itself."""
        return self.status is not None and self.status not in _NO_SERVER


_NO_SERVER = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class DevServer:
    """`started`: by this completion. `error` has the end of its log where it was started and did not come up."""

    started: bool
    command: str
    process_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """`checkpoint` is the label of the revision; `files_synced` is what this completion's own sync changed."""

    checkpoint: str
    files_total: int
    files_synced: int
    mirror: MirrorState
    mirrored: bool
    tech_stack: TechStack
    previews: Sequence[PreviewStatus]
    preview_url: str | None
    dev_server: DevServer | None
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A workspace as `open_workspace` answers. `percent` is of `phase`; files counts the mirror's tree.

    Until `state` is ready, `isolation` is None. `isolation_reason` says why that is not a better one; empty where there
    is none.
    """

    name: WorkspaceName
    created: bool
    state: Literal["ready", "preparing"]
    phase: Phase
    percent: float
    isolation: str | None
    gaps: Sequence[str]
    network: str | None
    toolchains: Mapping[str, str]
    revision: int
    files: int
    commands: Sequence[str]
    isolation_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A line of `list_workspaces`. `last_used` is seconds since the Unix epoch; `size` is of the mirror's tree.

    `state` is open (this server holds its sandbox), closed, or deleted.
    """

    name: WorkspaceName
    state: Literal["open", "closed", "deleted"]
    revision: int
    files: int
    size: int
    last_used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Revisions, newest first; `has_more` says that there are older ones."""

    revisions: Sequence[Revision]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What changed between two points. `is_sandbox`: `after` is the sandbox as it was just now, synced as that
    revision, but for what `unmirrored` names."""

    before: Point
    after: Point
    is_sandbox: bool
    changes: Sequence[FileChange]
    shown: Excerpt
    unmirrored: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """`changed` paths were mirrored with it; `unmirrored` names what is not in it, and why."""

    point: Point
    changed: int
    unmirrored: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restore that was made. `revision` has it, None where the mirror could not be told yet (`mirror_error`);
    restoring to `undo` undoes it. `problems` are paths that are not as they were then, and why."""

    to: Point
    path: WorkspacePath
    revision: int | None
    undo: int
    files_restored: int
    files_removed: int
    problems: Mapping[WorkspacePath, str]
    mirror_error: str | None = None
