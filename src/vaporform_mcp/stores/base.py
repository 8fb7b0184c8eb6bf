"""The contract of a store: workspaces' records and the mirror of their files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vaporform_mcp.types import Change, Digest, Entry, Head, Revision, TreeCount, WorkspacePath, WorkspaceRecord

__all__ = ["MAX_BLOB_BATCH_BYTES", "Adopted", "Blob", "OnProgress", "PruneReport", "Store", "VerifyReport"]

MAX_BLOB_BATCH_BYTES = 16 * 1024 * 1024
"""What a caller may hand to one `put_blobs` or ask of one `get_blobs`, in bytes; larger blobs are streamed."""

OnProgress = Callable[[int, int], None]
"""Told how many of about how many are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A revision as another store has it, with what it did."""

    revision: Revision
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file's bytes. `mime_type` is that of the first path seen with them; an entry's own is authoritative."""

    digest: Digest
    content: bytes
    mime_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What re-hashing found: how many blobs were read, and which were missing or not what their name says."""

    blobs: int
    size_bytes: int
    missing: Sequence[Digest]
    corrupt: Sequence[Digest]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    revisions: int
    blobs: int
    size_bytes: int


class Store(Protocol):
    """Every method is bounded in time and safe to repeat, unless it says otherwise.

    Every method may raise `StoreUnavailable`: the store cannot be reached, is full, read-only or of a newer schema;
    the hint names the mend. A method that raised it may still have taken effect. The methods of the mirror raise
    `NotFound` for a workspace that is not there.
    """

    # Workspaces ------------------------------------------------------------------------------------------------

    async def create_workspace(self, record: WorkspaceRecord) -> WorkspaceRecord:
        """Keep a new record. Repeating it with the same id answers with what is kept.

        Raises:
            Conflict: the owner has another workspace of that name that is not in the trash.
        """
        ...

    async def get_workspace(self, owner: str, name: str) -> WorkspaceRecord | None:
        """The owner's workspace of that name; one in the trash is not found."""
        ...

    async def list_workspaces(self, owner: str, *, deleted: bool = False) -> Sequence[WorkspaceRecord]:
        """The owner's workspaces, latest used first; those in the trash instead where `deleted` is set."""
        ...

    async def update_workspace(self, record: WorkspaceRecord) -> WorkspaceRecord:
        """Replace the record if `record.version` is still the kept one; answers with the version raised by one.

        Not safe to repeat blindly: after `StoreUnavailable`, read it again.

        Raises:
            Conflict: somebody updated it since, or its name was taken while it lay in the trash.
            NotFound: it was deleted for good.
        """
        ...

    async def delete_workspace(self, workspace_id: str, *, version: int | None = None) -> None:
        """Forget the workspace, its revisions and, later, the blobs that only it used. For good.

        Where `version` is given, only if the kept record still has it. One that is not there is no failure.

        Raises:
            Conflict: somebody updated the record since; nothing is forgotten.
        """
        ...

    # Blobs -----------------------------------------------------------------------------------------------------

    async def put_blobs(self, blobs: Sequence[Blob]) -> None:
        """Keep blobs, each once per store; one that is already there is renewed, so that pruning leaves it.

        They are durable at the latest when an `append` that follows returns.

        Raises:
            TooLarge: together they are over `MAX_BLOB_BATCH_BYTES`.
            InvalidArgument: the content of one does not hash to its digest.
        """
        ...

    async def put_large_blob(self, digest: Digest, size: int, chunks: AsyncIterator[bytes], mime_type: str) -> None:
        """Keep one blob of `size` bytes from a stream, in bounded memory.

        Raises:
            InvalidArgument: the stream's length or hash is not as announced; nothing is kept then.
        """
        ...

    async def missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        """Those that the store does not hold whole. Those that it holds are renewed as by `put_blobs`."""
        ...

    async def get_blobs(self, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
        """The bytes, verified against their digests. A blob that is missing or corrupt is left out.

        Raises:
            TooLarge: together they are over `MAX_BLOB_BATCH_BYTES`.
        """
        ...

    def stream_blob(self, digest: Digest) -> AsyncIterator[bytes]:
        """The blob in chunks, in order; the end is reached only if the whole was right.

        Raises:
            NotFound: it is missing or corrupt (also after some chunks: discard them).
        """
        ...

    # Mirror ----------------------------------------------------------------------------------------------------

    async def append(
        self,
        workspace_id: str,
        *,
        parent: int,
        revision_id: str,
        epoch: int,
        changes: Sequence[Change],
        made_by: str,
        label: str | None = None,
    ) -> Revision:
        """Commit `changes` as the revision that follows `parent`, durably and all or nothing.

        Repeating it with the same `revision_id` answers with the same revision, whatever came after. A change that
        changes nothing is kept out of the counts; of a path named twice the last change counts. `made_by` names the
        tool or command line that did it.

        Raises:
            Conflict: `parent` is not the head, or `epoch` is below the head's.
            NotFound: there is no such workspace, or a blob that a change names is not kept.
        """
        ...

    async def adopt(self, workspace_id: str, adopted: Sequence[Adopted]) -> None:
        """Commit revisions, oldest first, as another store has them: numbers, ids, times and counts kept.

        Each is committed durably and all or nothing; where one cannot be, those before it may have been. Numbers
        between the head and the next are as if they had been pruned. Repeating it changes nothing. Many at once cost
        little more than one; the caller bounds how much they hold together.

        Raises:
            Conflict: the head is at or beyond a number with other revisions, or of a later epoch.
            NotFound: there is no such workspace, or a blob that a change names is not kept.
        """
        ...

    async def head(self, workspace_id: str) -> Head: ...

    async def tree(self, workspace_id: str, at: int | None = None) -> Mapping[WorkspacePath, Entry]:
        """Every path at a revision (None: the head).

        Raises:
            NotFound: the revision does not exist or was pruned.
        """
        ...

    async def entries(
        self, workspace_id: str, paths: Collection[WorkspacePath], at: int | None = None
    ) -> Mapping[WorkspacePath, Entry]:
        """Those of `paths` that are there at a revision (None: the head), at a cost that does not grow with the tree.

        Raises:
            NotFound: the revision does not exist or was pruned.
        """
        ...

    async def count(self, workspace_id: str) -> TreeCount:
        """How many entries the head's tree has, and their sizes added up."""
        ...

    async def changes(self, workspace_id: str, *, after: int, upto: int | None = None) -> Sequence[Change]:
        """What revisions `after`+1 to `upto` (None: the head) did, folded: one change per path, the last one.

        Raises:
            NotFound: either is beyond the head or was pruned (`after` 0 always works); compare whole trees then.
        """
        ...

    async def last_entry(self, workspace_id: str, path: WorkspacePath) -> tuple[int, Entry] | None:
        """The newest entry that the path ever had, with its revision's number: also of a path since removed."""
        ...

    async def log(
        self, workspace_id: str, *, path: WorkspacePath | None = None, before: int | None = None, limit: int = 50
    ) -> Sequence[Revision]:
        """Revisions, newest first, below `before`; of one path or of what lies under it where `path` is given."""
        ...

    async def labelled(self, workspace_id: str, label: str) -> Revision | None:
        """The newest revision that bears the label."""
        ...

    # Care ------------------------------------------------------------------------------------------------------

    async def prune(self, workspace_id: str, *, keep_after: int, grace_s: float, dry_run: bool = False) -> PruneReport:
        """Drop revisions up to `keep_after` that bear no label, and blobs unreferenced for `grace_s` seconds."""
        ...

    async def verify(self, workspace_id: str | None = None, *, on_progress: OnProgress | None = None) -> VerifyReport:
        """Re-hash every blob that a kept revision (of one workspace, or of all) names. `on_progress` counts blobs."""
        ...

    async def aclose(self) -> None:
        """Give back what it holds. Safe to call twice."""
        ...
